// Prints the queries of a JSON list, the first argument, that are no LogQL by Grafana's own grammar, with the place.
const { parser } = require("@grafana/lezer-logql");

const faults = [];
for (const query of JSON.parse(process.argv[2])) {
  parser.parse(query).iterate({
    enter: (node) => {
      if (node.type.isError) faults.push([query, node.from]);
    },
  });
}
console.log(JSON.stringify(faults));
