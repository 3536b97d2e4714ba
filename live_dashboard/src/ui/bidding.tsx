/** Bidding of one campaign: what is in force, whether it reaches its goal, who holds it, and how to change it. */

import { type ReactNode, useEffect, useState } from "react";
import { api } from "../lib/api";
import { clock, dateTime, factor, money, share, words } from "../lib/format";
import { countersOf, measureNamed } from "../lib/measures";
import type { Override, StoredCampaign } from "../lib/records";
import type { Configuration, Decision, Row } from "../live/protocol";
import { told } from "./actions";
import { useAttention } from "./attention";
import { BiddingDialog, SetBidDialog } from "./bidding-dialogs";
import { MODES, STRATEGIES } from "./bidding-fields";
import { Button, Card, Confirm, Notice, Outcome } from "./parts";
import { Tile, Value } from "./values";

const title = (options: readonly { id: string; title: string }[], id: unknown) =>
  options.find((option) => option.id === id)?.title ?? words(String(id));
const numberOf = (value: unknown): number | null => (typeof value === "number" ? value : null);

export function BiddingCard({ row, config, span, decisions }: { row: Row; config: Configuration; span: string; decisions: Decision[] }) {
  const [stored, setStored] = useState<StoredCampaign | null>(null);
  const [setting, setSetting] = useState(false);
  const [lifting, setLifting] = useState(false);
  const [done, setDone] = useState("");
  const [error, setError] = useState("");
  const waiting = useAttention().waiting.filter((decision) => decision.campaign_id === row.id).length;
  const { bidding, currency } = row;
  const strategy = bidding.strategy;

  const attempt = async (action: () => Promise<string>) => {
    setError("");
    setDone("");
    try {
      setDone(await action());
    } catch (failure) {
      setError(told(failure));
    }
  };
  const openBidding = () =>
    attempt(async () => {
      setStored(await api.campaign(row.id));
      return "";
    });
  const lift = () =>
    attempt(async () => {
      await api.override(row.id, "lift", "");
      return "Given back: automation sets the bid again, and a person's pause is lifted.";
    });

  return (
    <Card
      title="Bidding"
      aside={
        <div className="flex flex-wrap gap-2">
          {strategy !== undefined && <Button onClick={() => setSetting(true)}>Set bid by hand</Button>}
          <Button onClick={openBidding}>{strategy === undefined ? "Set up bidding" : "Change bidding"}</Button>
        </div>
      }
    >
      {strategy === undefined ? (
        <p className="px-3 py-3 text-muted">No strategy: budgets and dates alone decide when this campaign runs.</p>
      ) : (
        <Facts row={row} config={config} span={span} />
      )}
      <div className="space-y-2 px-3 not-empty:py-2">
        {bidding.bid_held === "override" && (
          <Held
            text={
              <>
                <strong>A person's bid is in force</strong>
                {typeof bidding.bid_micros === "number" && <>: {money(bidding.bid_micros, currency)} CPM</>}
                <GivenBy id={row.id} zone={row.zone} version={bidding.bid_micros} />. Automation keeps its hands off.
              </>
            }
            onLift={() => setLifting(true)}
          />
        )}
        {bidding.bid_held === "undo" && (
          <Held
            text={
              <>
                <strong>The bid stays as a person put it back</strong> when undoing a decision.
              </>
            }
            onLift={() => setLifting(true)}
          />
        )}
        {row.state === "paused" && row.reason === "paused_by_person" && bidding.bid_held === null && (
          <Held text={<strong>Paused by a person.</strong>} onLift={() => setLifting(true)} />
        )}
        {typeof bidding.modifiers === "number" && bidding.modifiers > 0 && (
          <p className="text-muted">
            {bidding.modifiers} bid modifier{bidding.modifiers === 1 ? " is" : "s are"} in force by segment; the decisions below name them.
          </p>
        )}
        {waiting > 0 && (
          <Notice tone="info">
            <strong>
              {waiting} recommendation{waiting === 1 ? " waits" : "s wait"} for you.
            </strong>{" "}
            Open {waiting === 1 ? "it" : "them"} below, or see <a href="#/decisions" className="font-medium text-accent underline underline-offset-2">all that wait</a>.
          </Notice>
        )}
        {bidding.halted === 1 && <Halted decisions={decisions} zone={row.zone} />}
      </div>
      <Outcome padded done={done} error={error} />
      <Confirm
        open={lifting}
        onClose={() => setLifting(false)}
        title={`Give ${row.name || row.id} back to automation?`}
        description="What people set by hand ends: the bid, what was put back by undoing, and a pause. The strategy goes on from the bid in force; budgets and dates still hold."
        action="Give back to automation"
        onConfirm={() => void lift()}
      />
      {setting && (
        <SetBidDialog
          row={row}
          onClose={() => setSetting(false)}
          onSaved={(text) => {
            setSetting(false);
            setDone(text);
          }}
        />
      )}
      {stored && (
        <BiddingDialog
          stored={stored}
          onClose={() => setStored(null)}
          onSaved={(text) => {
            setStored(null);
            setDone(text);
          }}
        />
      )}
    </Card>
  );
}

/** ", by ann at 12:03:11 (note)", once the api has said so. */
function GivenBy({ id, zone, version }: { id: string; zone: string; version: unknown }) {
  const [given, setGiven] = useState<Override | null>(null);
  useEffect(() => {
    const stop = new AbortController();
    api.overrides(id, stop.signal).then(
      (overrides) => setGiven(overrides.find((each) => each.action === "set_bid") ?? null),
      // That there is one is known all the same.
      () => setGiven(null),
    );
    return () => stop.abort();
  }, [id, version]);
  if (!given) return null;
  return (
    <>
      , set by {given.changed_by} on {dateTime(given.changed_ms, zone)}
      {given.note && <> (“{given.note}”)</>}
    </>
  );
}

function Held({ text, onLift }: { text: ReactNode; onLift: () => void }) {
  return (
    <Notice tone="warn">
      <div className="flex flex-wrap items-center justify-between gap-x-3 gap-y-1">
        <span>{text}</span>
        <Button onClick={onLift}>Give back to automation</Button>
      </div>
    </Notice>
  );
}

function Halted({ decisions, zone }: { decisions: Decision[]; zone: string }) {
  const halt = decisions.find((decision) => decision.kind === "halt");
  const { expected_outcomes: expected, outcomes } = halt?.inputs ?? {};
  return (
    <Notice tone="bad">
      <strong>Automation is halted{halt ? ` since ${clock(halt.ts_ms, zone)}` : ""}:</strong>{" "}
      {halt ? words(halt.reason).toLowerCase() : "outcomes left the expected band"}
      {typeof expected === "number" && typeof outcomes === "number" && (
        <> ({Number(outcomes.toPrecision(3))} outcomes where {Number(expected.toPrecision(3))} were expected)</>
      )}
      . The bid stays where it is until outcomes are back in the band; undoing the halt below starts automation again.
    </Notice>
  );
}

function Facts({ row, config, span }: { row: Row; config: Configuration; span: string }) {
  const { bidding, currency } = row;
  const bid = numberOf(bidding.bid_micros);
  const pacing = numberOf(bidding.pacing_rate);
  const goal = numberOf(bidding.goal);
  const isCpa = bidding.strategy === "target_cpa";
  const measure = measureNamed(config, isCpa ? "cpa" : "roas");
  const spanTitle = config.spans.find((each) => each.id === span)?.title.toLowerCase() ?? span;
  const delay = numberOf(bidding.reporting_delay_ms);
  const multiplier = numberOf(bidding.multiplier);
  return (
    <dl className="grid grid-cols-2 gap-px overflow-hidden rounded-b-md bg-line sm:grid-cols-4 xl:grid-cols-8" data-testid="bidding">
      <Tile label="Strategy" value={title(STRATEGIES, bidding.strategy)} />
      <Tile label="Mode" value={title(MODES, bidding.mode)} explain={MODES.find((each) => each.id === bidding.mode)?.explain} />
      <Tile label="Bid, CPM" value={bid === null ? "–" : money(bid, currency)} explain="Price per thousand impressions" />
      <Tile label="Pacing rate" value={pacing === null ? "–" : share(pacing, 0)} explain="Share of auctions that are bid on" />
      <Tile
        label={isCpa ? "Target CPA" : bidding.strategy === "target_roas" ? "Target ROAS" : "Goal"}
        value={goal === null ? <span className="font-normal text-muted">none</span> : isCpa ? money(goal, currency) : factor(goal)}
        explain={multiplier === null ? undefined : `Bids are steered by a factor of ${factor(Math.exp(multiplier))} towards it`}
      />
      <Tile
        label={`Actual ${isCpa ? "CPA" : "ROAS"}, ${spanTitle}`}
        value={measure ? <Value measure={measure} counters={countersOf(row, span)} config={config} currency={currency} /> : "–"}
      />
      <Tile
        label="Automation"
        value={
          <span className={bidding.halted === 1 ? "text-bad" : ""}>
            {bidding.halted === 1 ? "Halted" : bidding.bid_held ? "Held by a person" : bidding.strategy === "manual" ? "By hand" : bidding.learning === 1 ? "Learning" : "Steering"}
          </span>
        }
        explain={bidding.learning === 1 ? "Too few conversions yet to steer by the goal" : undefined}
      />
      <Tile label="Reports come after" value={delay === null ? "at once" : `${Math.round(delay / 1_000)} s`} explain="Time until a won impression's cost is reported" />
    </dl>
  );
}
