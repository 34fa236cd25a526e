/** `oauth` of upstreams and providers: what a correct file becomes, and what a wrong one is told. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { credentialRefs, placementsOf, usesVault } from '../../src/config/credentials.ts';
import { parseConfig } from '../../src/config/load.ts';
import { variablesOf } from '../../src/config/oauth.ts';
import { ConfigError, formatProblems } from '../../src/config/problem.ts';

const parse = (...lines: string[]) => parseConfig(['version: 1', ...lines].join('\n'), 'c.yaml');

function refuse(title: string, lines: readonly string[], ...expected: string[]): void {
  it(title, () => {
    assert.throws(
      () => parse(...lines),
      (error) => {
        assert(error instanceof ConfigError);
        assert.deepEqual(
          formatProblems(error).split('\n'),
          expected.map((each) => `c.yaml:${each}`),
        );
        return true;
      },
    );
  });
}

describe('oauth', () => {
  it('true: everything as the server says', () => {
    const config = parse('upstreams: { linear: { url: "https://mcp.linear.app/mcp", oauth: true } }');
    const upstream = config.upstreams.get('linear');
    assert(upstream !== undefined && upstream.transport !== 'stdio');
    assert.deepEqual(upstream.bearer, { source: 'oauth', name: 'linear' });
    assert.deepEqual(
      placementsOf(upstream).map(({ into }) => into),
      ['Authorization'],
    );
    assert.deepEqual(config.logins.get('linear'), {
      name: 'linear',
      upstream: 'https://mcp.linear.app/mcp',
      issuer: null,
      endpoints: null,
      flow: 'code',
      scopes: null,
      client: null,
      metadataUrl: null,
      callbackPort: 0,
      assumePkce: false,
      audience: null,
      identity: null,
      subjectTokenType: 'id_token',
      caFile: null,
    });
    assert(usesVault(config));
  });

  it('a provider, and what its client needs', () => {
    const config = parse(
      'oauth:',
      '  corp:',
      '    issuer: https://login.corp.example',
      '    flow: token_exchange',
      '    client_id: ostiary',
      '    client_key: vault:corp-key',
      '    identity: { github: https://corp.example }',
      '    subject_token_type: jwt',
      '    ca_file: /etc/corp.pem',
      'upstreams:',
      '  jira: { command: /usr/local/bin/mcp-jira, secrets: { JIRA_TOKEN: oauth:corp } }',
    );
    const spec = config.logins.get('corp');
    assert(spec !== undefined);
    assert.equal(spec.upstream, null);
    assert.deepEqual([spec.subjectTokenType, spec.caFile], ['jwt', '/etc/corp.pem']);
    assert.deepEqual(spec.client?.key, { source: 'vault', name: 'corp-key' });
    assert.deepEqual(variablesOf(spec), ['ACTIONS_ID_TOKEN_REQUEST_URL', 'ACTIONS_ID_TOKEN_REQUEST_TOKEN']);
    assert.deepEqual(
      credentialRefs(config).map(({ source }) => source),
      ['oauth', 'vault'],
    );
  });
});

it('certificates of an upstream are trusted for its login too, unless that has its own', () => {
  const { logins } = parse(
    'upstreams:',
    '  a: { url: "https://a.example", ca_file: /a.pem, oauth: true }',
    '  b: { url: "https://b.example", ca_file: /a.pem, oauth: { ca_file: /b.pem } }',
  );
  assert.deepEqual(
    [...logins.values()].map(({ caFile }) => caFile),
    ['/a.pem', '/b.pem'],
  );
});

describe('oauth, written wrongly', () => {
  refuse(
    'a reference to a login that is not there',
    [
      'oauth: { corp: { issuer: "https://c.example" } }',
      'upstreams: { a: { command: node, secrets: { T: oauth:corb } } }',
    ],
    '3:48: upstreams.a.secrets.T: expected oauth: and one of corp, got another name; did you mean corp?',
  );
  refuse(
    'two things for one header',
    ['upstreams: { a: { url: "https://a.example", oauth: true, bearer: vault:a } }'],
    '2:45: upstreams.a.oauth: expected either oauth or Authorization from bearer, got both',
  );
  refuse(
    'false',
    ['upstreams: { a: { url: "https://a.example", oauth: false } }'],
    '2:52: upstreams.a.oauth: expected the word true, or a map, got a boolean',
  );
  refuse(
    'of a program',
    ['upstreams: { a: { command: node, oauth: true } }'],
    '2:34: upstreams.a.oauth: expected a key of an upstream with command, got one of an upstream with url',
  );
  refuse(
    'E8 a secret without the issuer that it is for',
    ['upstreams: { a: { url: "https://a.example", oauth: { client_id: x, client_secret: vault:x } } }'],
    '2:68: upstreams.a.oauth.client_secret: expected issuer beside it, which says where it may go, got none',
  );
  refuse(
    'plain http',
    ['oauth: { corp: { issuer: "http://login.example" } }'],
    '2:26: oauth.corp.issuer: expected https, or http to localhost, 127.0.0.1 or [::1], got http to another host: the credential would cross the network in clear',
  );
  refuse(
    'a provider that is nowhere',
    ['oauth: { corp: { scopes: [a] } }'],
    '2:10: oauth.corp: expected issuer or endpoints, got neither',
  );
  refuse(
    'one name for two',
    [
      'oauth: { a: { issuer: "https://c.example" } }',
      'upstreams: { a: { url: "https://a.example", oauth: true } }',
    ],
    '2:10: oauth.a: expected a name that no upstream with oauth has, got one that has',
  );
  refuse(
    'a flow without what it needs',
    ['oauth: { corp: { issuer: "https://c.example", flow: client_credentials, client_id: x } }'],
    '2:47: oauth.corp.flow: expected client_secret or client_key for flow client_credentials, got none',
  );
  refuse(
    'I1 an identity from what the runtime obeys',
    [
      'oauth: { corp: { issuer: "https://c.example", flow: token_exchange, identity: { variable: NODE_OPTIONS } } }',
    ],
    '2:91: oauth.corp.identity.variable: expected a variable that holds an identity, got one that the runtime obeys: the daemon is never given it',
  );
});
