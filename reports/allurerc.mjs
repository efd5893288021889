// Two pages, each a single file that opens without a server; the history grows by one line a run.
import { readFileSync } from "node:fs";

const categories = new URL("../rollback/prove/categories.json", import.meta.url);

export default {
  name: "rollback",
  categories: JSON.parse(readFileSync(categories, "utf8")),
  output: "allure-report",
  historyPath: "history.jsonl",
  appendHistory: true,
  plugins: {
    awesome: {
      options: {
        reportName: "rollback: results",
        singleFile: true,
        groupBy: ["epic", "feature", "story"],
      },
    },
    dashboard: {
      options: {
        reportName: "rollback: drills over time",
        singleFile: true,
      },
    },
  },
};
