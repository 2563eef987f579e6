import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { WrongUsage } from './failure.ts';
import type { Host } from './host/host.ts';
import { LEVELS, type Level } from './log.ts';
import { DEFAULTS, type Options, parseLevel, VARIABLES } from './options.ts';
import { COLUMNS, type Column } from './w/parse.ts';

/** One day: a run that w holds up for longer is of no use. */
const MAX_TIMEOUT = 86_400;

/**
 * Parses the command line.
 *
 * @returns the options, or the text to print if the help or the version is asked for
 * @throws WrongUsage when it is wrong
 */
export function parseCommandLine(host: Host, version: string): Options | string {
  let answer = '';
  const program = createProgram(host, version).configureOutput({
    writeOut: (text) => {
      answer += text;
    },
    outputError: () => {},
  });
  try {
    return program.parse(host.args, { from: 'user' }).opts<Options>();
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return answer;
    throw new WrongUsage(explainUsage(error, program));
  }
}

function createProgram(host: Host, version: string): Command {
  for (const name of Object.values(VARIABLES)) {
    if (host.env[name] === '') delete host.env[name];
  }
  return new Command('ssh-sessions-exporter')
    .description("Exports the SSH sessions of this machine as a file for node_exporter's textfile collector.")
    .addOption(
      new Option('-o, --output <file>', '.prom file to replace; "-" prints to standard output')
        .env(VARIABLES.output)
        .default(DEFAULTS.output)
        .argParser(parseOutput),
    )
    .option('-i, --input <file>', 'read saved output of w instead of running it; "-" is standard input')
    .option('-a, --all', 'export every login that w lists, not only SSH sessions', DEFAULTS.all)
    .addOption(
      new Option('-l, --labels <names>', 'labels of ssh_session_info, comma separated')
        .default(DEFAULTS.labels, DEFAULTS.labels.join(','))
        .argParser(parseLabels),
    )
    .option('--no-connections', "do not read sshd's processes; sessions are then what w lists")
    .option('--no-logins', "do not read sshd's log")
    .option('--no-args', "keep only the command's name in what: arguments can hold secrets")
    .addOption(
      new Option('--timeout <s>', 'time limit for w, and for journalctl, in seconds')
        .default(DEFAULTS.timeout)
        .argParser(parseTimeout),
    )
    .addOption(
      new Option('--log-level <l>', 'debug, info, warning or error')
        .env(VARIABLES.logLevel)
        .default(DEFAULTS.logLevel)
        .argParser(parseLogLevel),
    )
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .showSuggestionAfterError(false)
    .exitOverride();
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
  if (text.trim() === '' || !(seconds > 0 && seconds <= MAX_TIMEOUT)) {
    throw new InvalidArgumentError(`Give a number of seconds above 0 and up to ${MAX_TIMEOUT}.`);
  }
  return seconds;
}

function parseLogLevel(text: string): Level {
  const level = parseLevel(text);
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
