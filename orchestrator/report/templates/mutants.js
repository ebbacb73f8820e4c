// A link to a mutant opens the list that it is in.
const show = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const list = target && target.closest("details");
  if (list) { list.open = true; target.scrollIntoView(); }
};
addEventListener("hashchange", show);
show();
