// What a program with @clickhouse/client does, one line a check: name, tab, answer.
// Arguments: host:port database user password.

import { createClient } from "@clickhouse/client";

const [address, database, username, password] = process.argv.slice(2);

async function tell(name, check) {
  let answer;
  try {
    answer = await check();
  } catch (error) {
    answer = `FAILED ${error.code}: ${error.message}`;
  }
  console.log(`${name}\t${String(answer).replaceAll("\n", " ")}`);
}

const given = {
  url: `http://${address}`,
  database,
  username,
  password,
  application: "penstock-test",
  session_id: "one",
};
const client = createClient({
  ...given,
  clickhouse_settings: {
    output_format_json_quote_64bit_integers: 0,
    max_execution_time: 30,
    max_result_rows: "1000000",
    wait_end_of_query: 1,
    date_time_input_format: "best_effort",
    async_insert: 1,
    wait_for_async_insert: 1,
  },
});
const packed = createClient({ ...given, session_id: undefined, compression: { response: true, request: true } });

const json = async (query, more = {}) => (await client.query({ query, format: "JSONEachRow", ...more })).json();
const rows = (found) => found.map((row) => Object.values(row).join(",")).join(";");

await tell("ping", async () => (await client.ping()).success);
await tell("ping by a query", async () => (await client.ping({ select: true })).success);
await tell("campaigns", async () =>
  rows(
    await json(
      "SELECT campaign_id, count() AS n, sum(cost_micros) AS cost FROM events_clean GROUP BY campaign_id ORDER BY campaign_id",
    ),
  ),
);
await tell("who", async () => rows(await json("SELECT currentUser(), user() AS me, currentDatabase(), length(currentRoles())")));
await tell("named parameters", async () =>
  rows(
    await json("SELECT count() AS n FROM events_clean WHERE campaign_id = {c:String} AND cost_micros > {m:Int64}", {
      query_params: { c: "c1", m: 1000 },
    }),
  ),
);
await tell("settings of a query", async () =>
  rows(await json("SELECT number FROM numbers(3)", { clickhouse_settings: { extremes: 0, max_block_size: 100 } })),
);
await tell("one document", async () => {
  const found = await client.query({ query: "SELECT number AS n FROM numbers(4)", format: "JSON" });
  const { rows: count, meta } = await found.json();
  return `${count},${meta[0].name}`;
});
await tell("many", async () => {
  const found = await packed.query({
    query: "SELECT number AS n, toString(number) AS s FROM numbers(300000)",
    format: "JSONCompactEachRow",
  });
  let count = 0;
  let sum = 0;
  for await (const some of found.stream()) {
    for (const row of some) {
      const [n] = row.json();
      count += 1;
      sum += Number(n);
    }
  }
  return `${count},${sum}`;
});
await tell("text", async () => {
  const found = await client.query({ query: "SELECT 1, 'é'", format: "CSV" });
  return (await found.text()).trim();
});
await tell("unknown", async () => rows(await json("SELECT nope FROM events_clean")));
await tell("refused", async () => rows(await json("SELECT file('/etc/hostname')")));
await tell("insert refused", async () => {
  if (username === "default") return "";
  await client.insert({ table: "notes", values: [{ id: 1, text: "x" }], format: "JSONEachRow" });
  return "inserted";
});
if (username === "default") {
  await tell("created", async () => {
    await client.command({ query: "CREATE TABLE from_node (id UInt64, text String) ENGINE = MergeTree ORDER BY id" });
    return "";
  });
  await tell("inserted", async () => {
    const values = Array.from({ length: 1000 }, (_, id) => ({ id, text: `it's ${id}` }));
    await packed.insert({ table: "from_node", values, format: "JSONEachRow" });
    await client.insert({ table: "from_node", values: [[5000, "last"]], format: "JSONCompactEachRow" });
    return rows(await json("SELECT count(), sum(id), max(text) FROM from_node"));
  });
  await tell("dropped", async () => {
    await client.exec({ query: "DROP TABLE from_node" });
    return "";
  });
}
await client.close();
await packed.close();
