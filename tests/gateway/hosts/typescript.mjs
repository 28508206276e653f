// What a host on either line of the TypeScript SDK does and sees: each line has a program of its own that calls this.
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

export const order = JSON.parse(process.argv[2]);
export const CAPABILITIES = { elicitation: {}, sampling: {}, roots: {} };
export const answers = {
  'elicitation/create': () => ({ action: 'accept', content: { name: 'Ada' } }),
  'sampling/createMessage': () => ({ role: 'assistant', content: { type: 'text', text: 'Because.' }, model: 'm' }),
  'roots/list': () => ({ roots: [{ uri: 'file:///here' }] }),
};
export const logged = [];
export const updated = [];

export const until = async (condition) => {
  for (const end = Date.now() + 20_000; !condition(); ) {
    if (Date.now() > end) throw new Error('It did not happen.');
    await pause(10);
  }
};

// Without what the SDK adds or what is said of the connection.
const dumped = (result) => {
  const { _meta, ttlMs, cacheScope, resultType, ...rest } = result;
  return rest;
};

// `subscribed` subscribes to a resource, does what it is given, and gives the URIs that were heard of.
export async function run(client, version, subscribed) {
  const call = async (name, args = {}, options = undefined) =>
    dumped(await client.callTool({ name, arguments: args }, ...(options ? (order.line === 1 ? [undefined, options] : [options]) : [])));
  const steps = {
    tools: async () => (await client.listTools()).tools.map(dumped),
    call: () => call('echo', { text: 'hé' }),
    image: () => call('picture'),
    'structured content': () => call('receipt', { customer: 'Ada' }),
    'wrong arguments': () => call('receipt'),
    progress: async () => {
      const reported = [];
      await call('steps', { count: 3 }, { onprogress: (report) => reported.push([report.progress, report.total, report.message]) });
      return reported;
    },
    cancellation: async () => {
      const given = new AbortController();
      const calling = call('slow', { log: order.log }, { signal: given.signal, onprogress: () => given.abort() });
      await calling.catch(() => {});
      await until(() => existsSync(order.log) && readFileSync(order.log, 'utf8'));
      return readFileSync(order.log, 'utf8');
    },
    elicitation: () => call('ask'),
    sampling: () => call('think'),
    roots: () => call('where'),
    'log message': async () => {
      if (order.era === 'legacy') await client.setLoggingLevel('warning');
      await client.callTool({
        name: 'say',
        arguments: { text: 'a word' },
        ...(order.era === 'modern' ? { _meta: { 'io.modelcontextprotocol/logLevel': 'warning' } } : {}),
      });
      await until(() => logged.length);
      return logged;
    },
    resources: async () => (await client.listResources()).resources.map(dumped),
    templates: async () => (await client.listResourceTemplates()).resourceTemplates.map(dumped),
    resource: async () => dumped(await client.readResource({ uri: 'notes://today' })),
    'resource of a template': async () => dumped(await client.readResource({ uri: 'notes://monday/2' })),
    'unknown resource': () => client.readResource({ uri: 'notes://none/at/all' }),
    subscription: () => subscribed('notes://today', () => call('touch', { uri: 'notes://today' })),
    prompts: async () => (await client.listPrompts()).prompts.map(dumped),
    prompt: async () => dumped(await client.getPrompt({ name: 'summarize', arguments: { topic: 'tea' } })),
    completion: async () =>
      dumped(
        await client.complete({
          ref: { type: 'ref/prompt', name: 'summarize' },
          argument: { name: 'style', value: 'sh' },
        }),
      ),
  };
  const found = { version };
  for (const [name, step] of Object.entries(steps)) {
    try {
      found[name] = await step();
    } catch (error) {
      found[name] = { error: [error.code ?? null, error.message, error.data ?? null] };
    }
  }
  console.log(JSON.stringify(found));
  await client.close();
  process.exit(0);
}
