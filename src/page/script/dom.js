// Elements of the document. Names are untrusted (interfaces, databases, routers): the document shows them
// as text, never as markup.

const $ = id => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = ["svg", "path", "line", "text", "rect"];

function make(tag, attributes, ...children) {
  const node = SVG_TAGS.includes(tag)
    ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "fill") node.style.fill = value;
    else if (name === "paint") node.style.backgroundColor = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter(c => c !== undefined && c !== null && c !== ""));
  return node;
}
