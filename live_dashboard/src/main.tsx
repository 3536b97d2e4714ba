import { setNonce } from "get-nonce";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app";
import { storedKey } from "./lib/api";
import { applyTheme, storedTheme } from "./lib/theme";
import { LiveStore } from "./live/store";
import "./styles.css";
import { AttentionProvider } from "./ui/attention";
import { LiveContext } from "./ui/live";

// Radix adds a style element while a dialog is open; the page's policy wants the answer's nonce on it.
const nonce = document.querySelector<HTMLMetaElement>("meta[property=csp-nonce]")?.nonce;
if (nonce) setNonce(nonce);

applyTheme(storedTheme());
const live = new LiveStore(storedKey());
live.start();

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <LiveContext value={live}>
        <AttentionProvider>
          <App />
        </AttentionProvider>
      </LiveContext>
    </StrictMode>,
  );
}
