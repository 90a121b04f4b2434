/* A page without headings has no table of contents at its right, and the theme's script would fail looking for one. */
document.addEventListener("DOMContentLoaded", () => {
  if (document.querySelector("div.bd-sidebar-secondary")) return;
  const empty = document.createElement("div");
  empty.className = "bd-sidebar-secondary";
  empty.style.display = "none";
  document.body.append(empty);
});
