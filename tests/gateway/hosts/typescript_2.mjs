// A host on the TypeScript SDK 2.x, in either era.
import { pathToFileURL } from 'node:url';
import { CAPABILITIES, answers, logged, order, run, until, updated } from './typescript.mjs';

const sdk = (name) => import(pathToFileURL(`${order.modules}/@modelcontextprotocol/client/dist/${name}.mjs`));
const { Client, StreamableHTTPClientTransport } = await sdk('index');
const { StdioClientTransport } = await sdk('stdio');

const mode = order.era === 'modern' ? 'auto' : 'legacy';
const client = new Client({ name: 'host', version: '1' }, { capabilities: CAPABILITIES, versionNegotiation: { mode } });
for (const [method, answer] of Object.entries(answers)) client.setRequestHandler(method, answer);
client.setNotificationHandler('notifications/message', ({ params }) => logged.push(params.data));
client.setNotificationHandler('notifications/resources/updated', ({ params }) => updated.push(params.uri));
const transport = order.url
  ? new StreamableHTTPClientTransport(new URL(order.url))
  : new StdioClientTransport({ command: order.command[0], args: order.command.slice(1), env: process.env, stderr: 'ignore' });
await client.connect(transport);

const subscribed = async (uri, change) => {
  const subscription = order.era === 'modern' ? await client.listen({ resourceSubscriptions: [uri] }) : null;
  if (!subscription) await client.subscribeResource({ uri });
  await change();
  await until(() => updated.length);
  if (subscription) await subscription.close();
  else await client.unsubscribeResource({ uri });
  await change();
  return updated;
};
await run(client, client.getNegotiatedProtocolVersion?.() ?? null, subscribed);
