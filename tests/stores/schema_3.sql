PRAGMA application_id = 1852272757;
PRAGMA user_version = 3;
PRAGMA journal_mode = WAL;
BEGIN TRANSACTION;
CREATE TABLE documents (
    collection TEXT NOT NULL,
    key TEXT NOT NULL,
    document TEXT NOT NULL,      -- JSON
    PRIMARY KEY (collection, key)
) WITHOUT ROWID;
INSERT INTO "documents" VALUES('collection','key','{"a":1}');
CREATE TABLE pieces (
    task TEXT NOT NULL,
    attempt INTEGER NOT NULL,    -- -1: the request
    piece INTEGER NOT NULL,
    data BLOB NOT NULL,
    UNIQUE (task, attempt, piece)
);
INSERT INTO "pieces" VALUES('waits 1',-1,0,X'736563726574');
INSERT INTO "pieces" VALUES('waits 2',-1,0,X'736563726574');
INSERT INTO "pieces" VALUES('waits 3',-1,0,X'736563726574');
CREATE TABLE queue (
    workspace TEXT NOT NULL,
    block INTEGER NOT NULL,
    queued INTEGER NOT NULL,
    PRIMARY KEY (workspace, block)
) WITHOUT ROWID;
INSERT INTO "queue" VALUES('w',0,3);
CREATE TABLE tasks (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    workspace TEXT NOT NULL,
    status TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    submitted_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    started_at REAL,
    ended_at REAL,
    node TEXT NOT NULL,          -- node_key() of the placement's address
    btc_address TEXT NOT NULL,
    submission TEXT NOT NULL,    -- JSON: what never changes
    placement TEXT NOT NULL,     -- JSON
    outcome TEXT,                -- JSON
    checkpoint TEXT NOT NULL DEFAULT ''
);
INSERT INTO "tasks" VALUES(1,'runs','w','running',1,1000.0,2000.0,1001.0,NULL,'ab01','','{"method":"schedulingTask","timeout":300.0,"request_url":"","request_size":0,"request_text":true,"direct":false,"btc_address":"","client_ip":"","user_key":"","app":"","form":"object","request":["POST","/run?a=1",8080],"headers":[["Content-Type","application/json"],["X-Odd","\u00ff"]]}','["replica-1","0xAB01","127.0.0.1"]',NULL,'');
INSERT INTO "tasks" VALUES(2,'waits 1','w','queued',0,1000.0,2000.0,NULL,NULL,'','','{"method":"schedulingTask","timeout":300.0,"request_url":"","request_size":6,"request_text":true,"direct":false,"btc_address":"","client_ip":"","user_key":"","app":"","form":"object","request":["POST","/run?a=1",8080],"headers":[["Content-Type","application/json"],["X-Odd","\u00ff"]]}','["","",""]',NULL,'');
INSERT INTO "tasks" VALUES(3,'waits 2','w','queued',0,1000.0,2000.0,NULL,NULL,'','','{"method":"schedulingTask","timeout":300.0,"request_url":"","request_size":6,"request_text":true,"direct":false,"btc_address":"","client_ip":"","user_key":"","app":"","form":"object","request":["POST","/run?a=1",8080],"headers":[["Content-Type","application/json"],["X-Odd","\u00ff"]]}','["","",""]',NULL,'');
INSERT INTO "tasks" VALUES(4,'waits 3','w','queued',0,1000.0,2000.0,NULL,NULL,'','','{"method":"schedulingTask","timeout":300.0,"request_url":"","request_size":6,"request_text":true,"direct":false,"btc_address":"","client_ip":"","user_key":"","app":"","form":"object","request":["POST","/run?a=1",8080],"headers":[["Content-Type","application/json"],["X-Odd","\u00ff"]]}','["","",""]',NULL,'');
INSERT INTO "tasks" VALUES(5,'done','w','finished',1,1000.0,2000.0,NULL,1002.0,'','','{"method":"schedulingTask","timeout":300.0,"request_url":"","request_size":0,"request_text":true,"direct":false,"btc_address":"","client_ip":"","user_key":"","app":"","form":"object","request":["POST","/run?a=1",8080],"headers":[["Content-Type","application/json"],["X-Odd","\u00ff"]]}','["","",""]','{"status":"finished","code":200,"reason":"","worker_status":200,"content_type":"application/json","size":0,"text":true,"json":true}','');
CREATE TABLE uploads (task TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE INDEX tasks_queued ON tasks (workspace, number, expires_at) WHERE status = 'queued';
CREATE INDEX tasks_expiring ON tasks (expires_at) WHERE status = 'queued';
CREATE INDEX tasks_running ON tasks (number) WHERE status = 'running';
CREATE INDEX tasks_ended ON tasks (workspace, ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX tasks_by_time ON tasks (workspace, submitted_at, number);
CREATE INDEX tasks_by_node ON tasks (workspace, node, submitted_at, number) WHERE node <> '';
CREATE INDEX tasks_by_address ON tasks (workspace, btc_address, submitted_at, number) WHERE btc_address <> '';
CREATE TRIGGER queue_added AFTER INSERT ON tasks WHEN new.status = 'queued' BEGIN
    INSERT INTO queue VALUES (new.workspace, new.number >> 10, 1)
        ON CONFLICT DO UPDATE SET queued = queued + 1;
END;
CREATE TRIGGER queue_entered AFTER UPDATE OF status ON tasks WHEN new.status = 'queued' AND old.status <> 'queued' BEGIN
    INSERT INTO queue VALUES (new.workspace, new.number >> 10, 1)
        ON CONFLICT DO UPDATE SET queued = queued + 1;
END;
CREATE TRIGGER queue_left AFTER UPDATE OF status ON tasks WHEN old.status = 'queued' AND new.status <> 'queued' BEGIN
    UPDATE queue SET queued = queued - 1 WHERE workspace = old.workspace AND block = old.number >> 10;
    DELETE FROM queue WHERE workspace = old.workspace AND block = old.number >> 10 AND queued = 0;
END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('tasks',5);
COMMIT;
