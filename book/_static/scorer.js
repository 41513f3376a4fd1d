// What the search finds first: the page that has a word as its title (16), then the glossary, then those with it
// in theirs (15) or in their text (5), and the interface after them.
// Sphinx puts it into searchtools.js in its own Scorer's place; all but `score` is as it is there.
var Scorer = {
  score: ([page, , , , score]) =>
    score + (page === "book/reference/glossary" ? 10.5 : page.startsWith("book/reference/api/") ? -10 : 0),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
