// Two pages, each a single file that opens without a server; the history grows by one line a run.
export default {
  name: "rollback",
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
