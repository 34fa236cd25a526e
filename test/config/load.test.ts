/** Which file is read, who may have written it, and what must not be taken for one. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { loadConfig, locateConfig } from '../../src/config/load.ts';
import { ConfigError, formatProblems } from '../../src/config/problem.ts';
import { Failure } from '../../src/errors.ts';

const isRoot = process.getuid?.() === 0;
const NOBODY = 65534;
const VALID = 'version: 1\nlisten: {port: 4711}\n';

let root: string;
let home: string;
let env: NodeJS.ProcessEnv;

before(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'ostiary-config-')));
});
after(() => rmSync(root, { recursive: true }));

/** A file of ours in a directory of its own. */
function write(data: string | Buffer, mode = 0o600): string {
  const file = join(mkdtempSync(join(root, 'd-')), 'config.yaml');
  writeFileSync(file, data);
  chmodSync(file, mode);
  return file;
}

function refused(file: string, message: RegExp): Failure {
  let failure: unknown;
  assert.throws(
    () => loadConfig({ config: file, env: {} }),
    (error) => {
      failure = error;
      return error instanceof Failure && error.kind === 'config' && message.test(error.message);
    },
  );
  return failure as Failure;
}

describe('search order', () => {
  before(() => {
    home = mkdtempSync(join(root, 'home-'));
    env = { HOME: home };
  });

  it('is --config, OSTIARY_CONFIG, the default place', () => {
    const named = { ...env, OSTIARY_CONFIG: '/etc/ostiary.yaml' };
    assert.deepEqual(locateConfig({ config: '/a.yaml', env: named }), { file: '/a.yaml', from: '--config' });
    assert.deepEqual(locateConfig({ env: named }), { file: '/etc/ostiary.yaml', from: 'OSTIARY_CONFIG' });
    const standard = join(home, '.config/ostiary/config.yaml');
    assert.deepEqual(locateConfig({ env }), { file: standard, from: 'default' });
  });

  it('takes a relative --config from the working directory', () => {
    assert.equal(locateConfig({ config: 'x.yaml', env }).file, join(process.cwd(), 'x.yaml'));
  });

  it('I3 refuses a relative or empty OSTIARY_CONFIG', () => {
    for (const OSTIARY_CONFIG of ['config.yaml', './config.yaml', ''])
      assert.throws(
        () => loadConfig({ env: { ...env, OSTIARY_CONFIG } }),
        /^Failure: OSTIARY_CONFIG: expected an absolute path, got /,
      );
    assert.throws(() => loadConfig({ config: '', env }), { kind: 'usage' });
  });

  it('without any file is empty', () => {
    const config = loadConfig({ env });
    assert.equal(config.file, null);
    assert.equal(config.upstreams.size + config.helpers.size + config.profiles.size, 0);
  });

  it('wants a named file to exist', () => {
    const file = join(root, 'missing.yaml');
    assert.throws(() => loadConfig({ config: file, env }), {
      message: 'file does not exist',
      place: { file },
    });
    assert.throws(() => loadConfig({ env: { ...env, OSTIARY_CONFIG: file } }), {
      message: 'file does not exist',
    });
  });

  it('reads the default place', () => {
    const file = locateConfig({ env }).file;
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, VALID);
    const config = loadConfig({ env });
    assert.equal(config.file, file);
    assert.equal(config.listen.port, 4711);
  });

  it('I3 never reads the working directory', () => {
    const directory = mkdtempSync(join(root, 'repository-'));
    for (const name of [
      'config.yaml',
      'config.yml',
      'ostiary.yaml',
      '.ostiary',
      '.ostiary.yaml',
      'ostiary/config.yaml',
    ]) {
      mkdirSync(dirname(join(directory, name)), { recursive: true });
      writeFileSync(join(directory, name), VALID);
    }
    const load = new URL('../../src/config/load.js', import.meta.url).href;
    for (const XDG_CONFIG_HOME of ['', '.', 'relative'])
      assert.equal(
        spawnSync(
          process.execPath,
          [
            '--input-type=module',
            '-e',
            `const { loadConfig } = await import(${JSON.stringify(load)});
            console.log(String(loadConfig({ env: process.env }).file))`,
          ],
          {
            cwd: directory,
            env: { HOME: mkdtempSync(join(root, 'home-')), XDG_CONFIG_HOME },
            encoding: 'utf8',
          },
        ).stdout,
        'null\n',
      );
  });
});

describe('who could have written it', () => {
  it('accepts 0600 and 0644', () => {
    for (const mode of [0o600, 0o640, 0o644, 0o400])
      assert.equal(loadConfig({ config: write(VALID, mode), env: {} }).listen.port, 4711);
  });

  for (const mode of [0o666, 0o660, 0o620, 0o602])
    it(`I2 refuses mode ${mode.toString(8).padStart(4, '0')}`, () => {
      const file = write(VALID, mode);
      assert.equal(refused(file, /^file is writable by others: mode 0/).hint, `chmod go-w ${file}`);
    });

  it('I2 refuses a file of another uid', { skip: !isRoot && 'only root can give a file away' }, () => {
    const file = write(VALID);
    chownSync(file, NOBODY, NOBODY);
    refused(file, /^file is owned by uid 65534, expected 0 or root$/);
  });

  it('I2 refuses a directory of another uid above it', {
    skip: !isRoot && 'only root can give a directory away',
  }, () => {
    const file = write(VALID);
    chownSync(dirname(file), NOBODY, NOBODY);
    refused(file, /^directory is owned by uid 65534/);
  });

  it('I2 refuses a directory above it that others can write', () => {
    const above = mkdtempSync(join(root, 'open-'));
    const file = join(above, 'mine', 'config.yaml');
    mkdirSync(dirname(file), { mode: 0o700 });
    writeFileSync(file, VALID, { mode: 0o600 });
    chmodSync(above, 0o777);
    assert.deepEqual(refused(file, /^directory is writable by others: mode 0777$/).place, { file: above });
  });

  it('I2 judges what a link points to', () => {
    const link = join(mkdtempSync(join(root, 'link-')), 'config.yaml');
    symlinkSync(write(VALID, 0o666), link);
    refused(link, /^file is writable by others/);
  });

  it('refuses what is no file', () => {
    refused(root, /^not a regular file$/);
    const fifo = join(root, 'fifo');
    assert.equal(spawnSync('mkfifo', ['-m', '600', fifo]).status, 0);
    refused(fifo, /^not a regular file$/);
  });
});

describe('bytes', () => {
  it('C1 refuses what is not UTF-8, with its line', () => {
    const file = write(Buffer.concat([Buffer.from('version: 1\n# caf'), Buffer.from([0xe9, 0x0a])]));
    const failure = refused(file, /^expected UTF-8 text, got other bytes$/);
    assert(failure instanceof ConfigError);
    assert.equal(formatProblems(failure), `${file}:2:1: expected UTF-8 text, got other bytes`);
    refused(write(Buffer.from('\ufeffversion: 1\n', 'utf16le')), /^expected UTF-8 text/);
  });

  it('accepts a byte order mark', () => {
    assert.equal(loadConfig({ config: write(`\ufeff${VALID}`), env: {} }).listen.port, 4711);
  });

  it('refuses more than 1 MiB', () => {
    const filler = '#'.repeat(1024 * 1024 - VALID.length - 1);
    assert.equal(loadConfig({ config: write(`${VALID}${filler}\n`), env: {} }).listen.port, 4711);
    refused(write(`${VALID}${filler}#\n`), /^expected at most 1048576 bytes, got 1048577$/);
  });
});
