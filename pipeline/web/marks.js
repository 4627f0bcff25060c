// What the scripts of all pages share: elements, and texts with marks that may overlap.
"use strict";

const get = (id) => document.getElementById(id);

/** An element with attributes and children; texts become text nodes, never HTML. */
const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

/**
 * A text cut at the ends of spans, in order.
 * @param length of the text, in the units of the spans
 * @param spans [{start, end}]
 * @returns [{begin, past, over, ending}]: the spans over a stretch, and the spans that end with it
 */
const stretches = (length, spans) => {
  const cuts = [...new Set([0, length, ...spans.flatMap(({start, end}) => [start, end])])].sort((a, b) => a - b);
  return cuts.slice(0, -1).map((begin, i) => {
    const past = cuts[i + 1], over = spans.filter(({start, end}) => start <= begin && begin < end);
    return {begin, past, over, ending: over.filter(({end}) => end === past)};
  });
};

/** A probability as a percentage: not 0 % or 100 %, which it is not. */
const percent = (share) => share < 0.005 ? "<\u00a01\u00a0%" : share > 0.995 ? ">\u00a099\u00a0%" : `${(100 * share).toFixed(0)}\u00a0%`;

const duration = (milliseconds) => milliseconds < 1000 ? `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)}\u00a0ms`
  : milliseconds < 60000 ? `${(milliseconds / 1000).toFixed(1)}\u00a0s`
  : `${Math.floor(milliseconds / 60000)}\u00a0min ${Math.floor(milliseconds / 1000) % 60}\u00a0s`;

const counted = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
