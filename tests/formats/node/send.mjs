// Send with analytics-node: a page, a click, an order. Arguments: host, write key.
import { Analytics } from '@segment/analytics-node'

const [host, writeKey] = process.argv.slice(2)
const analytics = new Analytics({ host, writeKey, maxRetries: 0, flushAt: 10 })
const failed = []
analytics.on('error', (error) => failed.push(error))
const context = { campaign: { id: 'shoes' } }
analytics.identify({ userId: 'u-1', traits: { email: 'a@example.org' } })
analytics.page({ userId: 'u-1', category: 'shop', name: 'home' })
analytics.track({ userId: 'u-1', event: 'Ad Clicked', properties: { campaign_id: 'shoes', creative_id: 'k-1' } })
analytics.track({ userId: 'u-1', event: 'Order Completed', properties: { order_id: '17', revenue: 59.9 }, context })
await analytics.closeAndFlush()
if (failed.length > 0) {
  console.error('refused:', failed)
  process.exit(1)
}
