// The explorer's pictures, drawn with D3: terms that add up, and the point in the region that can be reached.
(function () {
  "use strict";

  const lib = window.splithistory;
  const d3 = window.d3;
  const ROW = 30; // pixels of a term
  const MOST = Math.log(8); // nats, where Op ends

  /** An empty picture as wide as its place, so that its letters keep their size on a phone. */
  function blank(svg, height) {
    const width = Math.max(260, svg.parentNode.clientWidth);
    const picture = d3.select(svg).attr("viewBox", `0 0 ${width} ${height}`).attr("height", height);
    picture.selectAll("*").remove();
    return { picture, width };
  }

  /** Terms [name, nats] that add up, each beginning where the last one ended, and their sum. */
  function waterfall(svg, terms, total) {
    const { picture, width } = blank(svg, (terms.length + 1) * ROW + 8);
    let end = 0;
    const rows = terms.map(([name, value]) => ({ name, value, from: end, to: (end += value) }));
    rows.push({ name: total, value: end, from: 0, to: end, total: true });
    const ends = rows.flatMap((row) => [row.from, row.to]);
    const x = d3.scaleLinear([Math.min(0, ...ends), Math.max(0.02, ...ends)], [122, width - 52]);
    const row = picture
      .selectAll("g")
      .data(rows)
      .join("g")
      .attr("transform", (_, i) => `translate(0,${i * ROW})`);
    row
      .append("text")
      .attr("y", 19)
      .text((d) => d.name);
    row
      .append("rect")
      .attr("class", (d) => (d.total ? "total" : d.value < 0 ? "less" : "term"))
      .attr("x", (d) => x(Math.min(d.from, d.to)))
      .attr("y", 5)
      .attr("height", ROW - 10)
      .attr("width", (d) => Math.max(1, Math.abs(x(d.to) - x(d.from))));
    row
      .append("text")
      .attr("class", "value")
      .attr("y", 19)
      .attr("x", (d) => x(Math.max(d.from, d.to)) + 5)
      .text((d) => lib.nats(d.value));
    picture
      .append("line")
      .attr("class", "axis")
      .attr("x1", x(0))
      .attr("x2", x(0))
      .attr("y2", rows.length * ROW);
  }

  /** In place of a sum that is infinite. */
  function infinite(svg, why) {
    blank(svg, 40).picture.append("text").attr("y", 22).text(why);
  }

  /** The edges of what can be reached: rows {s, low, high, implied}. */
  function reachable(f, goal, crumb) {
    const n = f.outcome.length;
    const other = Math.log(n) - lib.delta(f); // mean entropy of the comparison futures
    const [least, most] = [goal.length * crumb, 1 - (n - goal.length) * crumb];
    return Array.from({ length: 121 }, (_, i) => {
      const s = least + ((most - least) * i) / 120;
      const [low, high] = lib.opRange(s, goal.length, n, [other, other], crumb);
      return { s, low, high, implied: lib.binaryKl(s, goal.length / n) };
    });
  }

  /** Op against the success rate: the region, what the rate implies, and the point. */
  function region(svg, f, goal, crumb) {
    const height = 300;
    const { picture, width } = blank(svg, height);
    const edge = reachable(f, goal, crumb);
    const low = Math.min(0, ...edge.map((d) => d.low), lib.op(f));
    const x = d3.scaleLinear([0, 1], [44, width - 12]);
    const y = d3.scaleLinear([low, MOST], [height - 40, 8]);
    const axis = (side, at, move) =>
      picture
        .append("g")
        .attr("class", "axes")
        .attr("transform", move)
        .call(side(at).ticks(5).tickSizeOuter(0));
    picture
      .append("path")
      .attr("class", "reach")
      .attr(
        "d",
        d3
          .area()
          .x((d) => x(d.s))
          .y0((d) => y(d.low))
          .y1((d) => y(d.high))(edge),
      );
    picture
      .append("path")
      .attr("class", "implied")
      .attr(
        "d",
        d3
          .line()
          .x((d) => x(d.s))
          .y((d) => y(d.implied))(edge),
      );
    axis(d3.axisBottom, x, `translate(0,${height - 40})`);
    axis(d3.axisLeft, y, "translate(44,0)");
    picture
      .append("text")
      .attr("x", (44 + width) / 2)
      .attr("y", height - 6)
      .attr("text-anchor", "middle")
      .text("success rate s");
    picture.append("text").attr("x", 50).attr("y", 14).text("Op (nats)");
    const at = { x: x(lib.success(f, goal)), y: y(lib.op(f)) };
    picture
      .append("line")
      .attr("class", "drop")
      .attr("x1", at.x)
      .attr("x2", at.x)
      .attr("y1", at.y)
      .attr("y2", y(low));
    picture.append("circle").attr("class", "here").attr("cx", at.x).attr("cy", at.y).attr("r", 6);
  }

  window.splithistory = Object.assign(lib, { waterfall, infinite, region, reachable });
})();
