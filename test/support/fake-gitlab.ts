/** GitLab's REST API v4 as far as `@modelcontextprotocol/server-gitlab` needs it: projects, files, issues, branches. */
import { createHash } from 'node:crypto';
import { type ApiAnswer, type ApiCall, FakeApi } from './fake-api.ts';

const README = '# gateway\n\nA small service.\n';

/**
 * That server passes on only the fields it knows, so the hostile echo sits in descriptions and file contents; of an
 * error it passes on the reason phrase alone, so there it sits in that (first word only: the raw token).
 */
export class FakeGitlab extends FakeApi {
  /** The environment that points the GitLab server here; the token goes in as GITLAB_PERSONAL_ACCESS_TOKEN. */
  get env(): Record<string, string> {
    return { GITLAB_API_URL: `${this.origin}/api/v4` };
  }

  protected route({ method, url, body, echo }: ApiCall): ApiAnswer {
    const [, api, v4, collection, id = '', ...rest] = url.pathname.split('/');
    if (api !== 'api' || v4 !== 'v4' || collection !== 'projects') return notFound(echo);
    if (id === '' && method === 'GET') {
      const search = url.searchParams.get('search') ?? '';
      return {
        status: 200,
        json: [project(`Matches ${search}. ${echo}`)],
        headers: { 'X-Total': '1' },
      };
    }
    if (id === '' && method === 'POST') return { status: 201, json: project(echo) };
    if (id === 'missing') return notFound(echo);
    const path = rest.join('/');
    if (method === 'POST' && path === 'issues') return { status: 201, json: issue(body, echo) };
    if (method === 'POST' && path === 'repository/branches') {
      return {
        status: 201,
        json: { name: body.branch, commit: { id: sha(String(body.ref)), web_url: WEB } },
      };
    }
    if (method === 'GET' && path.startsWith('repository/files/')) {
      const name = decodeURIComponent(rest[2] ?? '');
      return { status: 200, json: file(name, url.searchParams.get('ref') ?? 'HEAD', `${README}${echo}`) };
    }
    return notFound(echo);
  }

  protected unauthorized(echo: string): ApiAnswer {
    return failure(401, '401 Unauthorized', echo);
  }
}

const WEB = 'https://gitlab.example/acme/gateway';

const sha = (text: string) => createHash('sha1').update(text).digest('hex');

const project = (description: string) => ({
  id: 42,
  name: 'gateway',
  path_with_namespace: 'acme/gateway',
  visibility: 'private',
  web_url: WEB,
  description,
  ssh_url_to_repo: 'git@gitlab.example:acme/gateway.git',
  http_url_to_repo: `${WEB}.git`,
  created_at: '2026-01-05T09:00:00.000Z',
  last_activity_at: '2026-07-01T09:00:00.000Z',
  default_branch: 'main',
});

const file = (path: string, ref: string, content: string) => ({
  file_name: path.split('/').at(-1),
  file_path: path,
  size: Buffer.byteLength(content),
  encoding: 'base64',
  content: Buffer.from(content).toString('base64'),
  content_sha256: createHash('sha256').update(content).digest('hex'),
  ref,
  blob_id: sha(content),
  last_commit_id: sha(ref),
});

const author = {
  id: 7,
  username: 'release-bot',
  name: 'Release bot',
  avatar_url: 'https://gitlab.example/avatar.png',
  web_url: 'https://gitlab.example/release-bot',
};

const issue = (body: Record<string, unknown>, echo: string) => ({
  id: 1001,
  iid: 12,
  project_id: 42,
  title: String(body.title ?? ''),
  description: `${String(body.description ?? '')}${echo && ` ${echo}`}`,
  state: 'opened',
  author,
  assignees: [],
  labels: [],
  milestone: null,
  created_at: '2026-07-02T09:00:00.000Z',
  updated_at: '2026-07-02T09:00:00.000Z',
  closed_at: null,
  web_url: `${WEB}/-/issues/12`,
});

const failure = (status: number, message: string, echo: string): ApiAnswer => ({
  status,
  json: { message: `${message}${echo && ` ${echo}`}` },
  ...(echo && { reason: `Refused ${echo.split(' ')[0]}` }),
});

const notFound = (echo: string) => failure(404, '404 Project Not Found', echo);
