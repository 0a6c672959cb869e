#!/usr/bin/env bash
# Draws docs/diagrams/*.mmd as the pictures that the pages show. Called by hand, after a change of one.
#
# Needs npm and Chromium; the site needs neither, nor any network. Each picture carries the hash of its source:
# a test compares the two.
set -euo pipefail
cd "$(dirname "$0")/../docs/diagrams"

tool=$(mktemp -d)
trap 'rm -rf "$tool"' EXIT
PUPPETEER_SKIP_DOWNLOAD=1 npm install --silent --no-fund --no-audit --prefix "$tool" @mermaid-js/mermaid-cli@11.17.0
printf '{"executablePath": "%s", "args": ["--no-sandbox"]}' "$(command -v chromium)" >"$tool/browser.json"
printf '{"theme": "neutral", "htmlLabels": false, "flowchart": {"htmlLabels": false}}' >"$tool/theme.json"
for source in *.mmd; do
    picture=${source%.mmd}.svg
    "$tool/node_modules/.bin/mmdc" --quiet --puppeteerConfigFile "$tool/browser.json" --configFile "$tool/theme.json" \
        --backgroundColor white --input "$source" --output "$picture"
    printf '<!-- %s -->\n' "$(sha256sum <"$source" | cut -c1-64)" >>"$picture"
done
