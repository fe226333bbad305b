-- Conversation clusters of the gold test share: none of their pairs is released or trained on, or the final measure would
-- meet conversations that its models know.
CREATE OR REPLACE VIEW held_out_clusters AS SELECT DISTINCT cluster_id FROM gold WHERE role = 'test'
