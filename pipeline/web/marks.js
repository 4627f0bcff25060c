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
 * @returns [{begin, past, over, ending}]: the spans over a stretch, and those of them that end with it
 */
const stretches = (length, spans) => {
  const cuts = [...new Set([0, length, ...spans.flatMap(({start, end}) => [start, end])])].sort((a, b) => a - b);
  return cuts.slice(0, -1).map((begin, i) => {
    const past = cuts[i + 1], over = spans.filter(({start, end}) => start <= begin && begin < end);
    return {begin, past, over, ending: over.filter(({end}) => end === past)};
  });
};
