// Databases: the hint if names are missing, and the attributions that their licences require.

function drawDatabases() {
  $("names-hint").hidden = !view.names_missing;
  const attributions = view.attributions ?? [];
  const links = attributions.flatMap(({ text, url }, i) => [i ? " · " : "", make("a", { href: url, rel: "noreferrer" }, text)]);
  $("attributions").hidden = !links.length;
  $("attributions").replaceChildren(...links);
}
