// What a program with clickhouse-go does over HTTP, one line a check: name, tab, answer.
// Arguments: host:port database user password compression (none, lz4, zstd, gzip, deflate).
package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/ext"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

const campaigns = `SELECT campaign_id, count(), sum(cost_micros) FROM events_clean
GROUP BY campaign_id ORDER BY campaign_id`

var methods = map[string]clickhouse.CompressionMethod{
	"none": clickhouse.CompressionNone, "lz4": clickhouse.CompressionLZ4, "zstd": clickhouse.CompressionZSTD,
	"gzip": clickhouse.CompressionGZIP, "deflate": clickhouse.CompressionDeflate,
}

func tell(name string, check func() (string, error)) {
	answer, err := check()
	var refused *clickhouse.Exception
	if errors.As(err, &refused) {
		answer = fmt.Sprintf("FAILED %d: %s", refused.Code, refused.Message)
	} else if err != nil {
		answer = "FAILED: " + err.Error()
	}
	fmt.Printf("%s\t%s\n", name, strings.ReplaceAll(answer, "\n", " "))
}

func options(compression string) *clickhouse.Options {
	given := os.Args[1:]
	return &clickhouse.Options{
		Protocol:    clickhouse.HTTP,
		Addr:        []string{given[0]},
		Auth:        clickhouse.Auth{Database: given[1], Username: given[2], Password: given[3]},
		Settings:    clickhouse.Settings{"max_execution_time": 30, "wait_end_of_query": 1},
		Compression: &clickhouse.Compression{Method: methods[compression]},
		ClientInfo: clickhouse.ClientInfo{Products: []struct {
			Name    string
			Version string
		}{{Name: "penstock-test", Version: "1"}}},
		DialTimeout: 30 * time.Second,
		ReadTimeout: 120 * time.Second,
	}
}

func rows(ctx context.Context, db *sql.DB, query string, given ...any) (string, error) {
	found, err := db.QueryContext(ctx, query, given...)
	if err != nil {
		return "", err
	}
	defer found.Close()
	columns, err := found.Columns()
	if err != nil {
		return "", err
	}
	var lines []string
	for found.Next() {
		values, places := make([]any, len(columns)), make([]any, len(columns))
		for at := range values {
			places[at] = &values[at]
		}
		if err := found.Scan(places...); err != nil {
			return "", err
		}
		texts := make([]string, len(values))
		for at, value := range values {
			texts[at] = fmt.Sprint(value)
		}
		lines = append(lines, strings.Join(texts, ","))
	}
	return strings.Join(lines, ";"), found.Err()
}

func asksBySQL(ctx context.Context, db *sql.DB) {
	tell("ping", func() (string, error) { return "true", db.PingContext(ctx) })
	tell("campaigns", func() (string, error) { return rows(ctx, db, campaigns) })
	tell("who", func() (string, error) {
		return rows(ctx, db, "SELECT currentUser(), user() AS me, currentDatabase(), length(currentRoles())")
	})
	tell("bound", func() (string, error) {
		return rows(ctx, db, "SELECT count() FROM events_clean WHERE campaign_id = ? AND cost_micros > ?", "c1", 1000)
	})
	tell("types", func() (string, error) {
		return rows(ctx, db, `SELECT toDecimal64(1.25, 2), CAST(NULL, 'Nullable(Int64)'), 'é', toDate('2026-01-02'),
			[1, 2], map('a', 1), toLowCardinality('x'), toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0'), (1, 'b')`)
	})
	tell("unknown", func() (string, error) { return rows(ctx, db, "SELECT nope FROM events_clean") })
	tell("write", func() (string, error) {
		_, err := db.ExecContext(ctx, "INSERT INTO notes (id, text) VALUES (1, 'go')")
		return "written", err
	})
}

func asksNatively(ctx context.Context, conn driver.Conn) {
	tell("server", func() (string, error) {
		version, err := conn.ServerVersion()
		if err != nil {
			return "", err
		}
		return fmt.Sprint(version.Timezone), nil
	})
	tell("named parameters", func() (string, error) {
		var count uint64
		given := clickhouse.Context(ctx, clickhouse.WithParameters(clickhouse.Parameters{"c": "c1", "m": "1000"}))
		query := "SELECT count() FROM events_clean WHERE campaign_id = {c:String} AND cost_micros > {m:Int64}"
		err := conn.QueryRow(given, query).Scan(&count)
		return fmt.Sprint(count), err
	})
	tell("many", func() (string, error) {
		found, err := conn.Query(ctx, "SELECT number, toString(number) FROM numbers(300000)")
		if err != nil {
			return "", err
		}
		defer found.Close()
		var count, sum, number uint64
		var text string
		for found.Next() {
			if err := found.Scan(&number, &text); err != nil {
				return "", err
			}
			count, sum = count+1, sum+number
		}
		return fmt.Sprintf("%d,%d", count, sum), found.Err()
	})
	tell("settings of a query", func() (string, error) {
		var limit string
		given := clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"max_block_size": 100}),
			clickhouse.WithQueryID("go-one"))
		err := conn.QueryRow(given, "SELECT toString(getSetting('max_block_size'))").Scan(&limit)
		return limit, err
	})
	tell("external", func() (string, error) {
		picked, err := ext.NewTable("picked", ext.Column("id", "String"), ext.Column("n", "UInt8"))
		if err != nil {
			return "", err
		}
		for at, name := range []string{"c1", "c2"} {
			if err := picked.Append(name, uint8(at+1)); err != nil {
				return "", err
			}
		}
		var count uint64
		given := clickhouse.Context(ctx, clickhouse.WithExternalTable(picked))
		query := "SELECT count() FROM events_clean WHERE campaign_id IN (SELECT id FROM picked WHERE n < 2)"
		err = conn.QueryRow(given, query).Scan(&count)
		return fmt.Sprint(count), err
	})
	tell("batch", func() (string, error) { return batch(ctx, conn) })
}

func batch(ctx context.Context, conn driver.Conn) (string, error) {
	prepared, err := conn.PrepareBatch(ctx, "INSERT INTO notes (id, text)")
	if err != nil {
		return "", err
	}
	for number := range 1000 {
		if err := prepared.Append(uint64(7_000+number), fmt.Sprintf("go %x", sha256.Sum256([]byte{byte(number)}))); err != nil {
			return "", err
		}
	}
	if err := prepared.Send(); err != nil {
		return "", err
	}
	var count, sum uint64
	err = conn.QueryRow(ctx, "SELECT uniqExact(id), sum(DISTINCT id) FROM notes WHERE id >= 7000 AND id < 8000").Scan(&count, &sum)
	return fmt.Sprintf("%d,%d", count, sum), err
}

func main() {
	ctx := context.Background()
	db := clickhouse.OpenDB(options(os.Args[5]))
	defer db.Close()
	asksBySQL(ctx, db)
	conn, err := clickhouse.Open(options(os.Args[5]))
	if err != nil {
		tell("open", func() (string, error) { return "", err })
		return
	}
	defer conn.Close()
	asksNatively(ctx, conn)
}
