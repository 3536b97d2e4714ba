import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const API = process.env.PENSTOCK_URL ?? "http://127.0.0.1:8000";

export default defineConfig({
  plugins: [react(), tailwindcss()],
  // The api puts a nonce of its own in place of this sign with every answer.
  html: { cspNonce: "__CSP_NONCE__" },
  build: { target: "es2022", modulePreload: { polyfill: false }, assetsInlineLimit: 0 },
  server: { proxy: { "/api": { target: API, ws: true } } },
  test: { include: ["test/**/*.test.ts"], environment: "node" },
});
