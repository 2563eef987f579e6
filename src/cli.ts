import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { createLog, LEVELS, type Level } from './log.ts';
import { type Options, run } from './run.ts';
import { COLUMNS, type Column } from './w/parse.ts';

/** Debian's textfile directory (ARGS of prometheus-node-exporter). */
const DEFAULT_OUTPUT = '/var/lib/prometheus/node-exporter/ssh_sessions.prom';

/** Exit statuses besides 0. */
const RUN_FAILED = 1;
const WRONG_USAGE = 2;

/** The bundler puts the version of package.json here. */
const VERSION = process.env['SSH_SESSIONS_EXPORTER_VERSION'] ?? '';

/** One day: a run that w holds up for longer is of no use. */
const LONGEST_TIMEOUT = 86_400;

interface Settings extends Options {
  readonly logLevel: Level;
}

/** @returns the exit status: 0 when all is done, 1 when the run failed, 2 when the command line is wrong */
function main(): number {
  ignoreEmptySettings();
  const program = createProgram();
  try {
    program.parse();
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return 0;
    createLog('error')('error', explainUsage(error, program));
    return WRONG_USAGE;
  }
  const settings = program.opts<Settings>();
  const log = createLog(settings.logLevel);
  const clock = { now: () => new Date(), elapsed: () => process.uptime() };
  return run(settings, VERSION, clock, log) ? 0 : RUN_FAILED;
}

function createProgram(): Command {
  return new Command('ssh-sessions-exporter')
    .description(
      'Writes the SSH sessions that w shows to a file for the textfile collector of node_exporter.',
    )
    .addOption(
      new Option('-o, --output <file>', '.prom file to replace; "-" prints to standard output')
        .env('SSH_SESSIONS_OUTPUT')
        .default(DEFAULT_OUTPUT)
        .argParser(parseOutput),
    )
    .option('-i, --input <file>', 'read saved output of w instead of running it; "-" is standard input')
    .option('-a, --all', 'export every login that w lists, not SSH sessions only', false)
    .addOption(
      new Option('-l, --labels <names>', 'labels of ssh_session_info, comma separated')
        .default(COLUMNS, COLUMNS.join(','))
        .argParser(parseLabels),
    )
    .option('--no-connections', 'leave out ssh_connections; w is then the only thing read')
    .option('--no-args', "keep only the command's name in what: arguments can hold secrets")
    .addOption(new Option('--timeout <s>', 'seconds that w may take').default(5).argParser(parseTimeout))
    .addOption(
      new Option('--log-level <l>', 'debug, info, warning or error')
        .env('LOG_LEVEL')
        .default('info')
        .argParser(parseLevel),
    )
    .version(VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .showSuggestionAfterError(false)
    .configureOutput({ outputError: () => {} })
    .exitOverride();
}

/** A line such as `LOG_LEVEL=` in a settings file asks for the default. */
function ignoreEmptySettings(): void {
  for (const name of ['SSH_SESSIONS_OUTPUT', 'LOG_LEVEL']) {
    if (process.env[name] === '') delete process.env[name];
  }
}

function parseOutput(text: string): string {
  if (text === '') throw new InvalidArgumentError('Name a file that ends in .prom, or "-".');
  return text;
}

/** @returns the labels in w's order, each once */
function parseLabels(text: string): Column[] {
  const names = text.split(',').map((name) => name.trim());
  const isColumn = (name: string) => COLUMNS.some((column) => column === name);
  if (!names.every(isColumn)) {
    throw new InvalidArgumentError(`Valid labels, comma separated: ${COLUMNS.join(', ')}.`);
  }
  return COLUMNS.filter((column) => names.includes(column));
}

function parseTimeout(text: string): number {
  const seconds = Number(text);
  if (text.trim() === '' || !(seconds > 0 && seconds <= LONGEST_TIMEOUT)) {
    throw new InvalidArgumentError(`Give a number of seconds above 0 and up to ${LONGEST_TIMEOUT}.`);
  }
  return seconds;
}

function parseLevel(text: string): Level {
  const level = LEVELS.find((name) => name === text.toLowerCase());
  if (level === undefined) throw new InvalidArgumentError(`Valid levels: ${LEVELS.join(', ')}.`);
  return level;
}

/** What commander says, on one line, with what is valid. */
function explainUsage(error: CommanderError, program: Command): string {
  const message = error.message.replace(/^error: |\.$/g, '').replace(/\s+/g, ' ');
  if (error.code !== 'commander.unknownOption') return `${message}; see --help`;
  const flags = program
    .createHelp()
    .visibleOptions(program)
    .map((option) => option.flags);
  return `${message}; valid options: ${flags.join('; ')}`;
}

process.exitCode = main();
