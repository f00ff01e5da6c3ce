# The twin in Python has the same surface, with types.
from hisock._gathered_py import Gathered as Gathered
from hisock._outbox_py import Outbox as Outbox
from hisock._outbox_py import Recipient as Recipient
from hisock._outbox_py import fan_out as fan_out
from hisock._outbox_py import fan_out_joined as fan_out_joined
from hisock._outbox_py import send_client as send_client
from hisock._publishing_py import Broadcaster as Broadcaster
from hisock._publishing_py import send_group as send_group
from hisock._publishing_py import send_room as send_room
