-- Where a channel stands in the tree of its device: it says so in several ways, and only some name a node that there is.

ALTER TABLE channels ADD COLUMN business_group TEXT NOT NULL DEFAULT '';
-- code of a node of `directory`; '' = at the top
ALTER TABLE channels ADD COLUMN node TEXT NOT NULL DEFAULT '';
UPDATE channels SET node = parent_id
WHERE EXISTS (SELECT 1 FROM directory WHERE directory.device = channels.device AND directory.id = channels.parent_id);
DROP INDEX channels_by_parent;
CREATE INDEX channels_by_node ON channels (device, node, place);
