// Before anything is drawn: the colours that were chosen, if any. No module, so that it does not wait for the page.
{
  const chosen = localStorage.getItem("highsync-theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
}
