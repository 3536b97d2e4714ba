// What a program with ClickHouse's JDBC driver does, one line a check: name, tab, answer.
// Arguments: host:port database user password, and `key=value` properties of the driver.

import com.clickhouse.client.api.Client;
import com.clickhouse.client.api.query.GenericRecord;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;

public class Ask {
  interface Check {
    String answer() throws Exception;
  }

  static void tell(String name, Check check) {
    String answer;
    try {
      answer = check.answer();
    } catch (Throwable error) {
      Throwable cause = error;
      while (cause.getCause() != null) cause = cause.getCause();
      String code = error instanceof SQLException ? " " + ((SQLException) error).getErrorCode() : "";
      answer = "FAILED" + code + ": " + error.getMessage() + " | " + cause.getMessage();
    }
    System.out.println(name + "\t" + String.valueOf(answer).replace("\n", " "));
  }

  static String rows(ResultSet found) throws SQLException {
    StringBuilder text = new StringBuilder();
    int columns = found.getMetaData().getColumnCount();
    while (found.next()) {
      if (text.length() > 0) text.append(";");
      for (int column = 1; column <= columns; column++) {
        text.append(column > 1 ? "," : "").append(found.getString(column));
      }
    }
    return text.toString();
  }

  static String names(ResultSet found, String column) throws SQLException {
    TreeSet<String> names = new TreeSet<>();
    while (found.next()) names.add(found.getString(column));
    return String.join(",", names);
  }

  static void reads(Connection connection, Statement ask) {
    tell("campaigns", () -> rows(ask.executeQuery(
        "SELECT campaign_id, count(), sum(cost_micros) FROM events_clean GROUP BY campaign_id ORDER BY campaign_id")));
    tell("who", () -> rows(ask.executeQuery("SELECT currentUser(), user(), currentDatabase(), currentRoles()")));
    tell("many", () -> {
      long rows = 0, sum = 0, length = 0;
      try (ResultSet found = ask.executeQuery("SELECT number AS n, toString(number) AS s FROM numbers(300000)")) {
        for (; found.next(); rows++) {
          sum += found.getLong("n");
          length += found.getString("s").length();
        }
      }
      return rows + "," + sum + "," + length;
    });
    tell("types", () -> rows(ask.executeQuery(
        "SELECT toDecimal64(1.25, 2), CAST(NULL AS Nullable(String)), 'é', toDate('2026-01-02'), true,"
            + " toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0'), CAST('a' AS LowCardinality(String))")));
    tell("array", () -> ((Object[]) one(ask, "SELECT [1, 2, 3]").getArray(1).getArray()).length + "");
    tell("map", () -> one(ask, "SELECT map('a', 1)").getObject(1, Map.class).toString());
    tell("timestamp", () -> one(ask, "SELECT max(ts) FROM events_clean").getTimestamp(1).toInstant().toString());
    tell("prepared", () -> {
      String text = "SELECT count() FROM events_clean WHERE campaign_id = ? AND cost_micros > ? AND ts > ?";
      try (PreparedStatement prepared = connection.prepareStatement(text)) {
        prepared.setString(1, "c1");
        prepared.setLong(2, 1000);
        prepared.setTimestamp(3, Timestamp.valueOf("2020-01-01 00:00:00"));
        return rows(prepared.executeQuery());
      }
    });
    tell("limited", () -> {
      try (Statement limited = connection.createStatement()) {
        limited.setQueryTimeout(20);
        limited.setMaxRows(3);
        limited.setFetchSize(100);
        return rows(limited.executeQuery("SELECT number FROM numbers(3)"));
      }
    });
    tell("refused", () -> rows(ask.executeQuery("SELECT file('/etc/hostname')")));
    tell("unknown", () -> rows(ask.executeQuery("SELECT nope FROM events_clean")));
    tell("insert refused", () -> ask.executeUpdate("INSERT INTO notes VALUES (1, 'x')") + " rows");
  }

  static ResultSet one(Statement ask, String query) throws SQLException {
    ResultSet found = ask.executeQuery(query);
    found.next();
    return found;
  }

  static void describes(Connection connection, String database) throws SQLException {
    DatabaseMetaData told = connection.getMetaData();
    tell("valid", () -> connection.isValid(10) + "");
    tell("product", () -> told.getDatabaseProductName());
    tell("user", () -> told.getUserName());
    tell("tables", () -> names(told.getTables(null, database, "%", null), "TABLE_NAME"));
    tell("views", () -> names(told.getTables(null, database, "events%", new String[] {"VIEW"}), "TABLE_NAME"));
    tell("columns", () -> names(told.getColumns(null, database, "events", "%"), "COLUMN_NAME"));
    tell("schemas", () -> names(told.getSchemas(), "TABLE_SCHEM").contains(database) + "");
    tell("catalogs", () -> rows(told.getCatalogs()).length() < 1000 ? "read" : "long");
    tell("types of tables", () -> rows(told.getTableTypes()).contains("VIEW") + "");
    tell("type info", () -> names(told.getTypeInfo(), "TYPE_NAME").contains("DateTime64") + "");
    tell("functions", () -> names(told.getFunctions(null, null, "%"), "FUNCTION_NAME").contains("toDateTime") + "");
    tell("keys", () -> rows(told.getPrimaryKeys(null, database, "events")).isEmpty() + "");
    tell("imported keys", () -> rows(told.getImportedKeys(null, database, "events")));
    tell("indexes", () -> rows(told.getIndexInfo(null, database, "events", false, true)).length() < 1000 ? "read" : "");
    tell("procedures", () -> rows(told.getProcedures(null, database, "%")));
  }

  static void parameters(String url, String database, String user, String password) {
    try (Client client =
        new Client.Builder().addEndpoint(url).setUsername(user).setPassword(password).setDefaultDatabase(database)
            .build()) {
      tell("named parameters", () -> {
        String text = "SELECT count() AS n FROM events_clean WHERE campaign_id = {c:String} AND cost_micros > {m:Int64}";
        List<GenericRecord> found = client.queryAll(text, Map.of("c", "c1", "m", 1000));
        return found.get(0).getString("n");
      });
    }
  }

  static void writes(Connection connection, Statement ask) {
    tell("created", () -> ask.executeUpdate("CREATE TABLE from_java (a UInt64, b String) ENGINE = MergeTree ORDER BY a") + "");
    tell("batch", () -> {
      try (PreparedStatement prepared = connection.prepareStatement("INSERT INTO from_java (a, b) VALUES (?, ?)")) {
        for (int row = 0; row < 1000; row++) {
          prepared.setLong(1, row);
          prepared.setString(2, "it's " + row);
          prepared.addBatch();
        }
        return prepared.executeBatch().length + "";
      }
    });
    tell("read back", () -> rows(ask.executeQuery("SELECT count(), sum(a), max(b) FROM from_java")));
    tell("dropped", () -> ask.executeUpdate("DROP TABLE from_java") + "");
  }

  public static void main(String[] given) throws Exception {
    String address = given[0], database = given[1], user = given[2], password = given[3];
    Properties properties = new Properties();
    properties.setProperty("user", user);
    properties.setProperty("password", password);
    for (int index = 4; index < given.length; index++) {
      String[] pair = given[index].split("=", 2);
      properties.setProperty(pair[0], pair[1]);
    }
    try (Connection connection = DriverManager.getConnection("jdbc:clickhouse://" + address + "/" + database, properties);
        Statement ask = connection.createStatement()) {
      reads(connection, ask);
      describes(connection, database);
      if (user.equals("default")) writes(connection, ask);
    }
    parameters("http://" + address, database, user, password);
  }
}
