// The sliders work with mouse, touch and arrow keys alike: they are range inputs.
for (const slider of document.querySelectorAll(".compare input[type=range]")) {
  const stage = slider.closest(".compare");
  const show = () => stage.style.setProperty("--split", slider.value + "%");
  slider.addEventListener("input", show);
  show();
}
// Paper cannot be opened.
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
});
