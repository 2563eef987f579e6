// The licence notices of the packages that the bundle holds: each of their licences asks that it go with every copy.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const HEAD = `ssh-sessions-exporter is distributed with parts of the following packages.
Their licences apply to those parts.
`;

/** @param metafiles esbuild's account of each build */
export function noticesOf(...metafiles) {
  const inputs = metafiles.flatMap((metafile) => Object.keys(metafile.inputs));
  const directories = inputs.flatMap((input) => /^node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0] ?? []);
  return [HEAD, ...[...new Set(directories)].sort().map(notice)].join(`\n${'-'.repeat(80)}\n\n`);
}

function notice(directory) {
  const { name, version, license } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
  return `${name} ${version} (${license})\n\n${licenceText(directory)}\n`;
}

/** The licence file of a package, or what its README has below a heading "License". */
function licenceText(directory) {
  const names = readdirSync(directory);
  const file = names.find((name) => /^licen[cs]e(\.|$)/i.test(name));
  if (file !== undefined) return readFileSync(join(directory, file), 'utf8').trim();
  const readme = names.find((name) => /^readme(\.|$)/i.test(name));
  const text = readme === undefined ? '' : readFileSync(join(directory, readme), 'utf8');
  const section = /^(?:#+ *)?licen[cs]e\b[^\n]*\n(?:[-=]+\n)?(.*)/ims.exec(text)?.[1]?.trim();
  if (section === undefined || !/copyright/i.test(section))
    throw new Error(`no licence found in ${directory}`);
  return section;
}
