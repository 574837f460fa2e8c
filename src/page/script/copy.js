// Copies tables as tab-separated text, and addresses.

const isShown = node => node.getClientRects().length > 0;
const textOf = cell => (isShown(cell) ? cell.innerText : "").replace(/\s+/g, " ").trim();

// Returns the rows as text: a tab between two cells, a line for each row.
function asText(rows) {
  return rows.map(row => [...row.cells].filter(isShown).map(textOf).join("\t")).join("\n");
}

const tableAsText = () => asText([...$("table").rows]);

// A selection in a table is copied by whole rows; within one cell, and outside of tables, the browser copies the selection.
function copySelection(event) {
  const selection = getSelection();
  if (!selection.rangeCount || selection.isCollapsed || document.activeElement?.tagName === "INPUT") return;
  const range = selection.getRangeAt(0), around = range.commonAncestorContainer;
  const inside = around.nodeType === Node.ELEMENT_NODE ? around : around.parentElement;
  if (inside.closest("td, th")) return;
  const table = inside.closest("table") ?? inside.closest("section")?.querySelector("table:not(.interfaces)");
  const rows = [...table?.rows ?? []].filter(row => range.intersectsNode(row));
  if (!rows.length) return;
  event.clipboardData.setData("text/plain", asText(rows));
  event.preventDefault();
}

// Returns whether the text is in the clipboard. The Clipboard API is missing on pages without TLS, the command is not.
function copyText(text) {
  const put = event => {
    event.clipboardData.setData("text/plain", text);
    event.preventDefault();
    event.stopImmediatePropagation();
  };
  addEventListener("copy", put, { capture: true, once: true });
  const isCopied = document.execCommand("copy");
  removeEventListener("copy", put, { capture: true });
  return isCopied;
}

// Returns a button that copies the result of `text`.
function copyButton(name, text, id) {
  const button = make("button", { type: "button", class: "quiet", id }, name);
  button.addEventListener("click", () => {
    button.textContent = copyText(text()) ? "Copied" : "Not copied";
    setTimeout(() => { button.textContent = name; }, 2000);
  });
  return button;
}
