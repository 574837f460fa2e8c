// Marks of events below a chart. They are buttons beside the drawing, since a drawing has no parts that the keyboard reaches.

const eventName = kind => (kind[0].toUpperCase() + kind.slice(1).replaceAll("_", " ")).replace("Bmp", "BMP session");
// The width of a mark: nearer events share one.
const MARK = 26;

// Returns the marks of a chart, and adds a line for each to the drawing.
function eventMarks(svg, frame) {
  const groups = [];
  for (const [time, kind, text] of past.data?.events ?? []) {
    const place = frame.x((chartEnd() - time) / pointStep());
    if (place < frame.left || place > frame.right) continue;
    const group = groups.at(-1);
    if (group && place - group.place < MARK) group.events.push([time, kind, text]);
    else groups.push({ place, events: [[time, kind, text]] });
  }
  const marks = groups.map(({ place, events }) => {
    svg.insertBefore(make("line", { class: "event", x1: place, x2: place, y1: frame.top, y2: frame.bottom }), frame.line);
    const lines = events.map(([time, kind, text]) => [moment(time), eventName(kind), text]);
    const button = make("button", { type: "button", class: events.some(([, kind]) => kind === "attack") ? "mark bad" : "mark", "aria-label": `${events.length === 1 ? "Event" : `${events.length} events`}: ${lines.slice(0, 8).map(line => line.filter(Boolean).join(" ")).join("; ")}` });
    const width = svg.viewBox.baseVal.width;
    button.style.left = `${Math.max(MARK / 2, Math.min(width - MARK / 2, place)) / width * 100}%`;
    const show = () => {
      const rows = lines.slice(-8).map(([time, kind, text]) => make("div", { class: "long" }, make("b", {}, time), make("bdi", {}, [kind, text].filter(Boolean).join(": "))));
      showTip(rows, button.getBoundingClientRect().left + MARK / 2, svg.getBoundingClientRect());
    };
    for (const name of ["pointerenter", "focus", "click"]) button.addEventListener(name, show);
    for (const name of ["pointerleave", "blur"]) button.addEventListener(name, () => { $("tip").hidden = true; });
    return button;
  });
  return marks.length ? make("div", { class: "marks", role: "group", "aria-label": "Events" }, ...marks) : null;
}
