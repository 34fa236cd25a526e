/** The Notion API as far as `@notionhq/notion-mcp-server` needs it: users, search, pages, blocks, comments. */
import { type ApiAnswer, type ApiCall, FakeApi } from './fake-api.ts';

const BOT = '9c3f5b52-5a57-4f3c-8f0e-2f6d2a1f4b10';
const PAGE = '59833787-2cf9-4fdf-8782-e53db20768a5';

export class FakeNotion extends FakeApi {
  /** The environment that points the Notion server here; the token goes in as NOTION_TOKEN. */
  get env(): Record<string, string> {
    return { BASE_URL: this.origin };
  }

  protected route({ method, url, body, echo }: ApiCall): ApiAnswer {
    const [, , collection = '', id = '', part = ''] = url.pathname.split('/');
    const ok = (json: object): ApiAnswer => ({ status: 200, json: { ...json, ...(echo && { echo }) } });
    switch (`${method} ${collection}${part && `/${part}`}`) {
      case 'GET users':
        if (id === '') return ok(list([bot()]));
        return id === 'me' || id === BOT ? ok(bot()) : notFound(id, echo);
      case 'POST search':
        return ok(list([page(`Results for ${String(body.query ?? 'everything')}`)]));
      case 'GET pages':
        return id === PAGE ? ok(page('Launch plan')) : notFound(id, echo);
      case 'POST pages':
        return ok(page('New page'));
      case 'GET blocks/children':
        return ok(list([paragraph('Ship on Thursday.')]));
      case 'GET comments':
        return ok(list([]));
      default:
        return notFound(url.pathname, echo);
    }
  }

  protected unauthorized(echo: string): ApiAnswer {
    return failure(401, 'unauthorized', `API token is invalid.${echo && ` ${echo}`}`);
  }
}

const list = (results: object[]) => ({ object: 'list', results, next_cursor: null, has_more: false });

const bot = () => ({
  object: 'user',
  id: BOT,
  type: 'bot',
  name: 'Release bot',
  avatar_url: null,
  bot: { owner: { type: 'workspace', workspace: true }, workspace_name: 'Acme' },
});

const text = (content: string) => ({ type: 'text', text: { content, link: null }, plain_text: content });

const page = (title: string) => ({
  object: 'page',
  id: PAGE,
  created_time: '2026-03-01T19:05:00.000Z',
  last_edited_time: '2026-07-06T20:25:00.000Z',
  archived: false,
  url: `https://www.notion.so/${PAGE.replaceAll('-', '')}`,
  properties: { title: { id: 'title', type: 'title', title: [text(title)] } },
});

const paragraph = (content: string) => ({
  object: 'block',
  id: 'c02fc1d3-db8b-45c5-a222-27595b15aea7',
  type: 'paragraph',
  has_children: false,
  paragraph: { rich_text: [text(content)] },
});

const failure = (status: number, code: string, message: string): ApiAnswer => ({
  status,
  json: { object: 'error', status, code, message },
});

const notFound = (what: string, echo: string) =>
  failure(404, 'object_not_found', `Could not find ${what}.${echo && ` ${echo}`}`);
