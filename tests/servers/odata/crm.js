// The service's own part: keys in the order in which records are made, with a quote in them, and hands for the tests that
// no OData service has.
const cds = require('@sap/cds')

// On loopback alone: the framework listens everywhere and takes no address.
const listen = cds.app.listen.bind(cds.app)
cds.app.listen = (port) => listen(port, '127.0.0.1')

let made = 0
const key = () => `c'${String(++made).padStart(7, '0')}`

module.exports = (service) => {
  service.before('CREATE', '*', (request) => { request.data.ID ??= key() })

  // Empties an entity set and fills it again.
  service.on('seed', async (request) => {
    const { contacts, records } = request.data
    const rows = Array.from({ length: records }, (_, index) => ({ ID: key(), title: `title ${index + 1}`, status: 'published' }))
    await DELETE.from(service.entities[contacts])
    for (let from = 0; from < rows.length; from += 500) {
      await INSERT.into(service.entities[contacts]).entries(rows.slice(from, from + 500))
    }
  })

  // Edits every title in one transaction: all of them have one time.
  service.on('storm', async (request) => {
    const { contacts, title } = request.data
    await UPDATE(service.entities[contacts]).with({ title })
  })
}
