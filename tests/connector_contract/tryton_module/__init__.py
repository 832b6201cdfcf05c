"""A module of Tryton for the tests of the connector: models that each test has for itself, and a party with a field of every
type. docs/testing.md says how it is put into a server."""

from trytond.exceptions import UserError
from trytond.model import DeactivableMixin, ModelSQL, ModelView, fields
from trytond.pool import Pool, PoolMeta

# As in world.rs.
REFUSED = "refused by the source"
MODELS = 12


class ContractMixin:
    __slots__ = ()
    title = fields.Text("Title", strip=False)
    note = fields.Text("Note", strip=False)

    @classmethod
    def validate_fields(cls, records, field_names):
        super().validate_fields(records, field_names)
        if any(record.title == REFUSED for record in records):
            raise UserError("This title is not taken: %s" % REFUSED)


def contract(number):
    bases = (ContractMixin, DeactivableMixin, ModelSQL, ModelView)
    return type("Contract%d" % number, bases, {"__name__": "attune.contract_%d" % number, "__slots__": ()})


class Party(metaclass=PoolMeta):
    __name__ = "party.party"
    attune_text = fields.Text("Text", strip=False)
    attune_short = fields.Char("Short", size=10)
    attune_integer = fields.Integer("Integer")
    attune_float = fields.Float("Float")
    attune_decimal = fields.Numeric("Decimal", digits=(16, 4))
    attune_boolean = fields.Boolean("Boolean")
    attune_date = fields.Date("Date")
    attune_instant = fields.DateTime("Instant")
    attune_grade = fields.Selection([(None, ""), ("gold", "Gold"), ("silver", "Silver")], "Grade")
    attune_company = fields.Many2One("party.party", "Company")


def register():
    models = [contract(number) for number in range(MODELS)]
    Pool.register(Party, *models, module="attune_contract", type_="model")
