#!/usr/bin/env node
require('../dist/ssh-sessions-exporter.cjs');
