// Reads {"tables": {TABLE: {COLUMN: TYPE}}, "queries": [TEXT]} from standard input and writes, for
// each query, what Microsoft's parser and binder of KQL have against it.
"use strict";

const { readFileSync } = require("node:fs");

require("@kusto/language-service-next/bridge.min.js");
require("@kusto/language-service-next/Kusto.Language.Bridge.min.js");

const { GlobalState, KustoCode, Symbols } = globalThis.Kusto.Language;

function table([name, columns]) {
  const schema = Object.entries(columns).map(([column, type]) => `${column}: ${type}`);
  return Symbols.TableSymbol.From(`(${schema.join(", ")})`).WithName(name);
}

function complaints(query, globals) {
  const found = KustoCode.ParseAndAnalyze(query, globals).GetDiagnostics();
  return Array.from({ length: found.Count }, (_, at) => {
    const one = found.getItem(at);
    return `${one.Code} at ${one.Start}: ${one.Message}`;
  });
}

const { tables, queries } = JSON.parse(readFileSync(0, "utf8"));
const logs = new Symbols.DatabaseSymbol.ctor("logs", Object.entries(tables).map(table));
const globals = GlobalState.Default.WithDatabase(logs);
process.stdout.write(JSON.stringify(queries.map((query) => complaints(query, globals))));
