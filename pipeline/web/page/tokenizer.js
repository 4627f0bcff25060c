// WordPiece with character offsets, equal to that of the `tokenizers` library. A plain script: it also runs in node.
"use strict";

// what a code point is to the tokenizer, as tokenizer.py finds out; MAPPED ones become other code points
const LETTER = 0, DROPPED = 1, SPACE = 2, ALONE = 3, MAPPED = 4;

/** The code points of a text, as Python counts its characters. */
const codePoints = (text) => Uint32Array.from(text, (character) => character.codePointAt(0));

/** The text of some code points; by parts, since a call has a limited number of arguments. */
const textOf = (codes) => {
  let text = "";
  for (let i = 0; i < codes.length; i += 4096) text += String.fromCodePoint(...codes.slice(i, i + 4096));
  return text;
};

class WordPiece {
  /** @param data what tokenizer.py reads from a tokenizer.json */
  constructor(data) {
    this.ids = new Map(data.vocabulary.map((piece, id) => [piece, id]));
    this.prefix = data.prefix;
    this.unknown = data.unknown;
    this.longestWord = data.longest_word;
    this.longestPiece = Math.max(...data.vocabulary.map((piece) => piece.length));
    this.classes = new Uint8Array(0x110000);
    data.classes.forEach(([first, kind], i) => {
      this.classes.fill(kind, first, i + 1 < data.classes.length ? data.classes[i + 1][0] : undefined);
    });
    this.mapped = new Map(data.mapped.map(([code, text]) => [code, codePoints(text)]));
    this.added = data.added.map(([content, id]) => ({codes: codePoints(content), id}))
      .sort((a, b) => b.codes.length - a.codes.length);  // of several that match, the longest counts
    this.firsts = new Set(this.added.map(({codes}) => codes[0]));
    this.known = new Map();  // pieces of words seen before
  }

  /**
   * Tokens of a text, without special tokens around it.
   * @param codes its code points
   * @returns {ids: [n], begins: [n], ends: [n]}; offsets in code points, ends exclusive
   */
  encode(codes) {
    const tokens = {ids: [], begins: [], ends: []};
    let letters = [], places = [];  // of the current word: its normalized code points, and where each is in the text
    const endWord = () => {
      if (!letters.length) return;
      for (const [id, first, past] of this.pieces(letters)) push(tokens, id, places[first], places[past - 1] + 1);
      letters = [];
      places = [];
    };
    const take = (code, place, kind) => {
      if (kind !== LETTER) endWord();
      if (kind === SPACE) return;
      letters.push(code);
      places.push(place);
      if (kind === ALONE) endWord();
    };
    for (let i = 0; i < codes.length; i++) {
      const special = this.firsts.has(codes[i]) && this.addedAt(codes, i);
      if (special) {
        endWord();
        push(tokens, special.id, i, i + special.codes.length);
        i += special.codes.length - 1;
        continue;
      }
      const kind = this.classes[codes[i]];
      if (kind === MAPPED) for (const code of this.mapped.get(codes[i])) take(code, i, this.classes[code]);
      else if (kind !== DROPPED) take(codes[i], i, kind);
    }
    endWord();
    return tokens;
  }

  addedAt(codes, place) {
    return this.added.find((token) => token.codes.every((code, i) => codes[place + i] === code));
  }

  /** The pieces of a word as [id, first, past], positions in the word; greedy, longest piece first. */
  pieces(letters) {
    const word = textOf(letters);
    let pieces = this.known.get(word);
    if (!pieces) this.known.set(word, pieces = this.split(letters));
    return pieces;
  }

  split(letters) {
    const unknown = [[this.unknown, 0, letters.length]], pieces = [];
    if (letters.length > this.longestWord) return unknown;
    for (let first = 0; first < letters.length;) {
      let past = Math.min(letters.length, first + this.longestPiece), id;
      for (; past > first; past--) {
        id = this.ids.get((first ? this.prefix : "") + textOf(letters.slice(first, past)));
        if (id !== undefined) break;
      }
      if (past === first) return unknown;
      pieces.push([id, first, past]);
      first = past;
    }
    return pieces;
  }
}

const push = (tokens, id, begin, end) => {
  tokens.ids.push(id);
  tokens.begins.push(begin);
  tokens.ends.push(end);
};
