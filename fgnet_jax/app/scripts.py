"""Scripts of the page, for the browser: clicks on bars and the time line, and the control of a video's frames.

The frame control belongs to the browser: the page's server draws it once for a file and never moves it afterwards, so
that it cannot take it out of anybody's hand; the frame that is shown follows it.
"""

CLICKS = """
element.addEventListener('click', event => {
  const button = event.target.closest('[data-au]'), plot = event.target.closest('svg.tl-plot');
  if (button) trigger('click', {au: Number(button.dataset.au)});
  if (plot) {
    const box = plot.getBoundingClientRect(), share = (event.clientX - box.left) / box.width;
    document.dispatchEvent(new CustomEvent('fg-frame', {detail: share}));
  }
});
"""
"""Of bars and time line: a click on an element with `data-au` chooses an AU; one on a curve moves the frame control."""

FRAME = """
let pause;
const moved = number => {
  const range = element.querySelector('input[type=range]'), box = element.querySelector('input[type=number]');
  if (!range || !Number.isFinite(number)) return;
  range.value = number;  // the browser brings it into the range, and onto a step
  clearTimeout(pause);
  if (document.activeElement !== box || number > Number(range.max)) box.value = range.value;
  else pause = setTimeout(() => { box.value = range.value; }, 1500);  // not while more digits are typed
  trigger('input');
};
const current = () => Number(element.querySelector('input[type=range]')?.value);
element.addEventListener('input', event => {
  if (event.target.value !== '') moved(Number(event.target.value));
  else clearTimeout(pause);
});
element.addEventListener('change', event => {
  if (event.target.type === 'number') event.target.value = current();
});
element.addEventListener('click', event => {
  const button = event.target.closest('[data-step]');
  if (button) moved(current() + Number(button.dataset.step));
});
document.addEventListener('fg-frame', event => {
  const range = element.querySelector('input[type=range]');
  if (!range) return;
  const step = Number(range.step), count = (range.max - range.min) / step + 1;
  moved(Number(range.min) + step * Math.min(Math.floor(event.detail * count), count - 1));
});
"""
"""Of the frame control: slider, box and buttons move together; a number beyond the end is the last one. The box has
the frame that is shown: at once where the number is beyond the end, else after a pause in typing."""

READ_FRAME = """() => {
  const range = document.querySelector('#frame input[type=range]');
  return range ? [range.dataset.key, Number(range.value)] : ['', 0];
}"""
"""Returns key and number of the frame control, when a request is sent: never a number of before."""

CLOCK = "(...values) => [...values.slice(0, -1), performance.timeOrigin + performance.now()]"
"""Replaces the last input by the browser's time, by which requests that overtook each other are told apart."""

DOWNLOAD = """file => {
  if (!file) return;
  const link = document.createElement('a');
  link.href = file.url;
  link.download = file.orig_name;
  link.click();
}"""
"""Downloads a file that was written just now: by its own address, not by a button that may still have another."""
