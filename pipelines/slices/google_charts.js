/**
 * Stands in for Google Charts, so that TFMA's browser of slices shows without network access.
 *
 * TFMA draws its table and its column charts with Google Charts, which it loads from gstatic.com and whose terms forbid
 * copies of it. This offers the part of that interface which TFMA 0.52 calls for slices, under the same names: tables and
 * column charts. It has to be there before vulcanized_tfma.js, which then loads nothing.
 */
(() => {
  'use strict';
  if (window.google?.charts?.load) {
    return;
  }

  const COLOURS = ['#3366cc', '#dc3912', '#ff9900', '#109618', '#990099'];
  const MARGIN = {top: 34, right: 12, bottom: 30, left: 64};
  const SVG = 'http://www.w3.org/2000/svg';

  /** Adds an element to another; `text` is text, never HTML. */
  const add = (parent, name, attributes = {}, text = '') => {
    const element = parent.namespaceURI === SVG || name === 'svg' ?
        document.createElementNS(SVG, name) :
        document.createElement(name);
    Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
    element.append(text);
    parent.append(element);
    return element;
  };

  /** What is told to whom: listeners by object and name of the event. */
  const listeners = new WeakMap();
  const listenersOf = (source, name) => {
    const all = listeners.get(source) ?? new Map();
    listeners.set(source, all);
    all.has(name) || all.set(name, new Set());
    return all.get(name);
  };
  const events = {
    addListener: (source, name, listener) => listenersOf(source, name).add(listener),
    addOneTimeListener(source, name, listener) {
      const once = detail => {
        listenersOf(source, name).delete(once);
        listener(detail);
      };
      listenersOf(source, name).add(once);
    },
    trigger: (source, name, detail) => [...listenersOf(source, name)].forEach(listener => listener(detail)),
  };

  /** A cell as {v: value, f: how it is written}. */
  const toCell = value => value !== null && typeof value === 'object' && 'v' in value ?
      {v: value.v, f: value.f ?? String(value.v)} :
      {v: value, f: value === null || value === undefined ? '' : String(value)};

  const compare = (a, b) =>
      typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b), undefined, {numeric: true});

  class DataTable {
    constructor(labels = [], rows = []) {
      this.columns = labels.map(label => ({label: typeof label === 'object' ? label.label : label}));
      this.rows = rows.map(row => row.map(toCell));
    }

    getNumberOfRows() {
      return this.rows.length;
    }

    sort(by) {
      const {column} = by[0];
      this.rows.sort((a, b) => compare(a[column].v, b[column].v));
    }
  }

  class DataView {
    constructor(table) {
      this.table = table;
      this.rows = table.rows;
      this.columns = table.columns;
    }

    getNumberOfRows() {
      return this.rows.length;
    }

    /** Each is the index of a column, or says that one is written into the bars (role annotation). */
    setColumns(chosen) {
      const index = column => typeof column === 'object' ? column.sourceColumn : column;
      this.columns = chosen.map(column => ({...this.table.columns[index(column)], role: column.role}));
      this.rows = this.table.rows.map(row => chosen.map(column => row[index(column)]));
    }
  }

  /** What charts have in common: where they are, and what is selected. */
  class Chart {
    constructor(container) {
      this.container = container;
      this.selection = [];
    }

    getSelection() {
      return this.selection;
    }

    setSelection(selection) {
      this.selection = selection ?? [];
      this.mark();
    }

    /** A click on what is selected already takes the selection back. */
    choose(entry) {
      const again = this.selection.some(other => other.row === entry.row && other.column === entry.column);
      this.setSelection(again ? [] : [entry]);
      events.trigger(this, 'select');
    }

    mark() {}
  }

  /** An HTML table with Google's class names, by which TFMA styles it. Sorts by a click on a header, and has pages. */
  class Table extends Chart {
    draw(table, options = {}) {
      this.table = table;
      this.options = options;
      this.order = table.rows.map((_, row) => row);
      this.sorted = null;
      this.page = 0;
      this.show();
      events.trigger(this, 'ready');
    }

    show() {
      this.container.replaceChildren();
      const root = add(this.container, 'div', {class: 'google-visualization-table'});
      const scrolled = add(root, 'div', {style: 'overflow-x: auto'});
      const table = add(scrolled, 'table', {
        class: 'google-visualization-table-table',
        cellspacing: 0,
        style: `width: ${this.options.width ?? 'auto'}`,
      });
      this.showHead(add(table, 'thead'));
      const body = add(table, 'tbody');
      const size = this.options.pageSize ?? this.order.length;
      this.shown = this.order.slice(this.page * size, (this.page + 1) * size).map(row => {
        const line = add(body, 'tr');
        line.addEventListener('click', () => this.choose({row}));
        this.table.rows[row].forEach(cell => {
          const place = add(line, 'td', {class: 'google-visualization-table-td'});
          // TFMA's elements come as HTML that differs from the value. What doesn't is text, maybe a user's.
          place[cell.f === cell.v ? 'textContent' : 'innerHTML'] = cell.f;
        });
        return {row, line};
      });
      this.mark();
      if (this.order.length > size) {
        this.showPages(root, Math.ceil(this.order.length / size));
      }
    }

    showHead(head) {
      const line = add(head, 'tr', {class: 'google-visualization-table-tr-head'});
      this.table.columns.forEach(({label}, column) => {
        const direction = this.sorted?.column !== column ? '' : this.sorted.ascending ? 'ascending' : 'descending';
        const cell = add(line, 'th', {
          'class': `google-visualization-table-th ${direction && `sort-${direction}`}`,
          'aria-sort': direction || 'none',
          'tabindex': 0,
          'style': 'cursor: pointer',
        }, label);
        add(cell, 'span', {class: 'google-visualization-table-sortind'});
        cell.addEventListener('click', () => this.sort(column));
        cell.addEventListener('keydown', event => event.key === 'Enter' && this.sort(column));
      });
    }

    showPages(root, count) {
      const buttons = add(root, 'div', {class: 'google-visualization-table-div-page'});
      for (let page = 0; page < count; page++) {
        const current = page === this.page ? ' current' : '';
        const button = add(
            buttons, 'a', {class: `google-visualization-table-page-number${current}`, href: '#'}, page + 1);
        button.addEventListener('click', event => {
          event.preventDefault();
          this.page = page;
          this.show();
          events.trigger(this, 'page', {page});
        });
      }
    }

    sort(column) {
      const ascending = !(this.sorted?.column === column && this.sorted.ascending);
      const value = row => this.table.rows[row][column].v;
      this.sorted = {column, ascending};
      this.order.sort((a, b) => (ascending ? 1 : -1) * compare(value(a), value(b)));
      this.show();
      events.trigger(this, 'sort', {column, ascending, sortedIndexes: this.order});
    }

    mark() {
      this.shown?.forEach(({row, line}, place) => {
        const chosen = this.selection.some(entry => entry.row === row);
        line.className = `google-visualization-table-tr-${place % 2 ? 'odd' : 'even'}` +
            (chosen ? ' google-visualization-table-tr-sel' : '');
      });
    }
  }

  /** A range of numbers on a length in pixels, from the bottom up, with round steps. It always has zero in it. */
  class Scale {
    constructor(values, length) {
      const known = values.filter(Number.isFinite);
      const lowest = Math.min(0, ...known);
      const highest = Math.max(0, ...known);
      const rough = (highest - lowest || 1) / 4;
      const power = 10 ** Math.floor(Math.log10(rough));
      this.step = power * [1, 2, 5, 10].find(factor => factor * power >= rough);
      this.first = Math.floor(lowest / this.step);
      this.last = Math.max(Math.ceil(highest / this.step), this.first + 1);
      this.at = value => length * (1 - (value / this.step - this.first) / (this.last - this.first));
    }

    ticks() {
      return Array.from({length: this.last - this.first + 1}, (_, index) => (this.first + index) * this.step);
    }
  }

  /** Columns side by side, a colour a series, each with its own axis if the options ask for it. */
  class ColumnChart extends Chart {
    draw(view, options = {}) {
      const width = options.width - MARGIN.left - MARGIN.right;
      const height = options.height - MARGIN.top - MARGIN.bottom;
      const series = view.columns.map((column, index) => ({...column, index})).slice(1).filter(column => !column.role);
      const scaleOf = columns =>
          new Scale(view.rows.flatMap(row => columns.map(column => row[column.index].v)), height);
      const isAnnotated = view.columns.some(column => column.role === 'annotation');
      const slot = width / view.rows.length;

      this.container.querySelector('svg')?.remove();
      const svg = add(this.container, 'svg', {
        'width': options.width,
        'height': options.height,
        'role': 'img',
        'aria-label': series.map(column => column.label).join(', '),
        'style': 'font: 12px sans-serif',
      });
      // TFMA highlights columns, and what is written over them, by their places in this order.
      const transform = `translate(${MARGIN.left}, ${MARGIN.top})`;
      const plot = add(svg, 'g', {'clip-path': 'none', transform});
      const grid = add(plot, 'g');
      const bars = add(plot, 'g');
      const axis = add(svg, 'g', {'transform': `translate(${MARGIN.left}, ${MARGIN.top + height + 16})`});
      const legend = add(svg, 'g', {'transform': `translate(${MARGIN.left}, 16)`});
      const texts = add(svg, 'g', {transform, 'text-anchor': 'middle'});

      if (!options.vAxis?.ticks) {
        const scale = scaleOf(series);
        scale.ticks().forEach(value => {
          add(grid, 'line', {x1: 0, x2: width, y1: scale.at(value), y2: scale.at(value), stroke: '#ddd'});
          add(grid, 'text', {'x': -8, 'y': scale.at(value) + 4, 'text-anchor': 'end'}, +value.toPrecision(6));
        });
      }
      this.bars = series.flatMap((column, number) => {
        const scale = scaleOf(options.series?.[number]?.targetAxisIndex === undefined ? series : [column]);
        const thick = 0.75 * slot / series.length;
        add(legend, 'rect', {x: 200 * number, y: -10, width: 12, height: 12, fill: COLOURS[number]});
        add(legend, 'text', {x: 200 * number + 18}, column.label);
        return view.rows.map((cells, row) => {
          const value = cells[column.index].v;
          const top = scale.at(Number.isFinite(value) ? value : 0);
          const x = slot * (row + 0.125) + thick * number;
          const bar = add(bars, 'rect', {
            x, y: Math.min(top, scale.at(0)), width: thick, height: Math.abs(top - scale.at(0)), fill: COLOURS[number],
          });
          add(bar, 'title', {}, `${cells[0].f}\n${column.label}: ${Number.isFinite(value) ? value : 'none'}`);
          if (isAnnotated) {
            add(texts, 'text', {x: x + thick / 2, y: top - 3}, +value.toFixed(2));
          }
          if (options.enableInteractivity !== false) {
            bar.addEventListener('click', () => this.choose({row, column: column.index}));
          }
          return {row, bar};
        });
      });
      this.writeAxis(axis, options.hAxis?.ticks ?? [], view.rows, slot, width);
      this.mark();
      events.trigger(this, 'ready');
    }

    /** Numbers between the columns where there are ticks, else as many letters of the names as there is room for. */
    writeAxis(axis, ticks, rows, slot, width) {
      ticks.forEach(({f}, index) => add(
          axis, 'text', {'x': width * index / (ticks.length - 1), 'text-anchor': 'middle'}, f));
      const letters = Math.floor(slot / 7);
      if (!ticks.length && letters > 3) {
        rows.forEach(([{f}], row) => add(
            axis, 'text', {'x': slot * (row + 0.5), 'text-anchor': 'middle'},
            f.length > letters ? `${f.slice(0, letters - 1)}…` : f));
      }
    }

    mark() {
      const chosen = this.selection.map(entry => entry.row);
      this.bars?.forEach(({row, bar}) => bar.style.opacity = !chosen.length || chosen.includes(row) ? 1 : 0.4);
    }
  }

  /** What isn't a table or column chart: TFMA draws these only for plots. */
  class NotDrawn extends Chart {
    draw() {
      this.container.textContent = 'This chart needs Google Charts, and so network access.';
      events.trigger(this, 'ready');
    }
  }

  const CHARTS = {Table, ColumnChart};

  class ChartWrapper {
    constructor({container}) {
      this.container = container;
    }

    setChartType(type) {
      this.type = type;
    }

    setDataTable(table) {
      this.table = table;
    }

    setOptions(options) {
      this.options = options;
    }

    getChart() {
      return this.chart;
    }

    draw() {
      const chart = CHARTS[this.type] ?? NotDrawn;
      if (!(this.chart instanceof chart)) {
        this.chart = new chart(this.container);
        events.addListener(this.chart, 'select', () => events.trigger(this, 'select'));
      }
      this.chart.draw(this.table, this.options);
      events.trigger(this, 'ready');
    }
  }

  window.google = {
    ...window.google,
    charts: {load: () => Promise.resolve()},
    visualization: {
      arrayToDataTable: ([labels, ...rows]) => new DataTable(labels, rows),
      events, ChartWrapper, ColumnChart, DataTable, DataView, Table,
    },
  };
})();
