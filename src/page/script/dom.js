// Elements of the document. Names are untrusted (interfaces, databases, routers): the document shows them
// as text, never as markup.

const $ = id => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

function make(tag, attributes, ...children) {
  const node = tag === "svg" || tag === "path" || tag === "line" || tag === "text"
    ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "fill" && String(value).startsWith("--")) node.style.fill = `var(${value})`;
    else if (name === "paint") node.style.background = `var(${value})`;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter(c => c !== undefined && c !== null && c !== ""));
  return node;
}
