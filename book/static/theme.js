/* A page without headings has no table of contents at its right, and the theme's script would fail looking for one. */
document.addEventListener("DOMContentLoaded", () => {
  if (document.querySelector("div.bd-sidebar-secondary")) return;
  const empty = document.createElement("div");
  empty.className = "bd-sidebar-secondary";
  empty.style.display = "none";
  document.body.append(empty);
});

/* Whoever closes the menu by a key is where they opened it: the theme moves the menu's contents, and the focus is lost. */
document.addEventListener("DOMContentLoaded", () => {
  let opener = null;
  document.addEventListener("click", (event) => { opener = event.target.closest("button") ?? opener; }, true);
  document.querySelectorAll("dialog").forEach((dialog) => {
    dialog.addEventListener("close", () => setTimeout(() => {
      if (document.activeElement === document.body) opener?.focus();
    }));
  });
});

/* A button is called what stands on it, or a reader who speaks to the browser could not press it: the search button is
   not "Search" alone where its keys stand beside the word, and the picture of the colour button says nothing more. */
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".search-button-field").forEach((button) => button.removeAttribute("aria-label"));
  // The icons' script draws the pictures sooner or later, with the titles that it found.
  document.querySelectorAll(".theme-switch-button").forEach((button) => {
    const quiet = () => {
      button.querySelectorAll("i.theme-switch").forEach((picture) => picture.removeAttribute("title"));
      button.querySelectorAll("svg.theme-switch[role]").forEach((picture) => {
        picture.querySelector("title")?.remove();
        ["role", "aria-labelledby"].forEach((name) => picture.removeAttribute(name));
        picture.setAttribute("aria-hidden", "true");
      });
    };
    quiet();
    new MutationObserver(quiet).observe(button, {childList: true, subtree: true});
  });
  document.querySelectorAll("summary[aria-label]").forEach((summary) => summary.removeAttribute("aria-label"));
  // A list within a list belongs into one of its items.
  document.querySelectorAll("ul > ul").forEach((inner) => {
    const item = document.createElement("li");
    inner.replaceWith(item);
    item.append(inner);
  });
  // The works of a bibliography are entries, not items, and a list without items is none.
  document.querySelectorAll(".citation-list").forEach((list) => list.removeAttribute("role"));
});
