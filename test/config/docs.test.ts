/** The published schema, the starter and every example of the documentation hold what they promise. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { parseDuration } from '../../src/config/duration.ts';
import { exampleConfig } from '../../src/config/example.ts';
import { parseConfig } from '../../src/config/load.ts';
import { schemaFile } from '../../src/config/shape.ts';
import { parseSize } from '../../src/config/size.ts';
import { limits } from '../../src/limits.ts';
import { packageRoot } from '../../src/paths.ts';

interface Schema {
  readonly title?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly examples?: readonly unknown[];
  readonly $ref?: string;
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema | true>>;
  readonly items?: Schema;
  readonly $defs: Readonly<Record<string, Schema>>;
}

const ajv = new Ajv2020({ allowUnionTypes: true });
const root = JSON.parse(readFileSync(schemaFile, 'utf8')) as Schema;

describe('config.schema.json', () => {
  it('is a valid JSON Schema', () => {
    assert.equal(ajv.validateSchema(root), true);
    assert.equal(ajv.validate(root, { version: 1 }), true);
  });

  it('describes every property, and its examples and defaults fit', () => {
    const visit = (path: string, schema: Schema): void => {
      for (const [name, property] of Object.entries(schema.properties ?? {})) {
        assert(property !== true);
        const target = root.$defs[property.$ref?.replace('#/$defs/', '') ?? ''];
        assert(property.description ?? target?.description, `${path}.${name} has no description`);
        assert(property.title ?? target?.title, `${path}.${name} has no title to build errors with`);
        const check = ajv.compile({ ...property, $defs: root.$defs });
        for (const example of [
          ...(property.examples ?? []),
          ...('default' in property ? [property.default] : []),
        ])
          assert.equal(check(example), true, `${path}.${name}: ${JSON.stringify(example)}`);
        visit(`${path}.${name}`, property);
      }
      if (schema.items) visit(`${path}[]`, schema.items);
    };
    visit('', root);
    for (const [name, schema] of Object.entries(root.$defs)) {
      assert(schema.title, `${name} has no title`);
      visit(name, schema);
    }
  });

  it('has the defaults of limits.ts', () => {
    const byDefault = (name: string, property: string) => {
      const schema = root.$defs[name]?.properties?.[property];
      return parseDuration(String(schema !== undefined && schema !== true ? schema.default : ''));
    };
    for (const kind of ['stdio', 'http']) {
      assert.equal(byDefault(kind, 'start_timeout'), limits.upstreamStartMs);
      assert.equal(byDefault(kind, 'call_timeout'), limits.upstreamCallMs);
    }
    assert.equal(parseDuration(String(root.$defs.idle_timeout?.default)), limits.upstreamIdleMs);
    assert.equal(root.$defs.max_children?.default, limits.childrenPerUpstream);
    const bounds = root.$defs.limits?.properties as Record<string, Schema>;
    assert.equal(bounds.sessions?.default, limits.sessions);
    assert.equal(parseSize(String(bounds.message_size?.default)), limits.answerBytes);
    assert.equal(byDefault('helper', 'timeout'), limits.helperTimeoutMs);
  });
});

describe('examples', () => {
  it('of `config example` load', () => {
    assert.deepEqual([...parseConfig(exampleConfig(), 'example').upstreams.keys()], ['notion']);
    // Also with everything that is commented out.
    const all = exampleConfig().replaceAll(
      /^( *)# (helpers:|agent:|linear:| {2,}\S|start_timeout|call_timeout|tool_timeouts)/gm,
      '$1$2',
    );
    assert.deepEqual([...parseConfig(all, 'example').upstreams.keys()], ['notion', 'linear']);
    assert.equal(parseConfig(all, 'example').helpers.size, 1);
    assert.deepEqual(parseConfig(all, 'example').agent.env, ['ANTHROPIC_API_KEY']);
  });

  it('of docs/configuration.md load', () => {
    const page = readFileSync(join(packageRoot, 'docs', 'configuration.md'), 'utf8');
    const blocks = [...page.matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, block]) => block ?? '');
    assert(blocks.length >= 3);
    for (const block of blocks) parseConfig(block, 'docs/configuration.md');
  });

  it('of docs/configuration.md name every key', () => {
    const page = readFileSync(join(packageRoot, 'docs', 'configuration.md'), 'utf8');
    for (const schema of [root, ...Object.values(root.$defs)])
      for (const name of Object.keys(schema.properties ?? {})) assert(page.includes(`\`${name}\``), name);
  });
});
