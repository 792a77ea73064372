// Small plots: 34 slots from left to right, zero on a line of its own, the scale grown to what came.

import { FRAMES, inMs } from "./lateness.js";

const HEIGHT = 40;
const SCALES = [5, 10, 20, 30, 50, 100, 150, 200, 300, 500, 1000, 2000, 5000];

/** Each value as a bar from the zero line, with its figures as a tooltip. */
export function plotBars(svg, values, noun) {
  const y = prepare(svg, values);
  const bars = values.map((value, i) => {
    const top = Math.min(y(value), y(0));
    const bar = shape("rect", { x: i + 0.15, width: 0.7, y: top, height: Math.max(Math.abs(y(value) - y(0)), 0.6) });
    bar.append(titled(i, value));
    return bar;
  });
  svg.append(...bars);
  describe(svg, values, noun);
}

/** The values as one line over a filled area. */
export function plotArea(svg, values, noun) {
  const y = prepare(svg, values);
  if (values.length) {
    const points = values.map((value, i) => `${i + 0.5} ${y(value)}`).join(" L");
    svg.append(
      shape("path", { class: "area", d: `M0.5 ${y(0)} L${points} L${values.length - 0.5} ${y(0)} Z` }),
      shape("path", { class: "line", d: `M${points}` }),
    );
  }
  describe(svg, values, noun);
}

function prepare(svg, values) {
  const top = scaleFor(Math.max(0, ...values));
  const bottom = Math.min(...values, 0) < -0.5 ? scaleFor(-Math.min(...values)) : 0;
  const y = (value) => (HEIGHT * (top - Math.max(Math.min(value, top), -bottom))) / (top + bottom);
  svg.setAttribute("viewBox", `0 -1 ${FRAMES - 1} ${HEIGHT + 2}`);
  svg.replaceChildren(shape("path", { class: "zero", d: `M0 ${y(0)} H${FRAMES - 1}` }));
  svg.parentElement.querySelector(".scale").textContent = `up to ${top} ms`;
  return y;
}

const scaleFor = (value) => SCALES.find((scale) => value <= scale) ?? Math.ceil(value / 1000) * 1000;

function describe(svg, values, noun) {
  const latest = values.length ? `latest ${inMs(values.at(-1))}, most ${inMs(Math.max(...values))}` : "none yet";
  svg.setAttribute("aria-label", `Lateness of ${noun}: ${latest}`);
}

function titled(index, value) {
  const title = shape("title", {});
  title.textContent = `frame ${index + 2}: ${inMs(value)}`;
  return title;
}

function shape(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}
