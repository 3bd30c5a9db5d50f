"""Writes under a condition while nodes are killed and come back: no two are acknowledged that have seen the same."""

import re
import threading
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from test.cluster import Cluster

SECONDS = 12


def client_of(cluster):
    return boto3.client(
        "s3",
        endpoint_url=f"http://{cluster.layout.ip}:{cluster.layout.port}",
        aws_access_key_id="test:tester",
        aws_secret_access_key="testing",
        region_name="us-east-1",
        config=Config(
            retries={"max_attempts": 0}, s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=30
        ),
    )


def test_a_counter_while_nodes_come_and_go(tmp_path):
    """By several proxies, which know nothing of each other but what the nodes tell them."""
    cluster = Cluster(tmp_path / "saio")
    cluster.write()
    conf = cluster.layout.proxy_conf
    conf.write_text(re.sub(r"(?m)^workers = 1$", "workers = 3", conf.read_text(), count=1))
    with cluster:
        client = client_of(cluster)
        client.create_bucket(Bucket="counters")
        ec = {"LocationConstraint": "us-east-1:ec42"}
        client.create_bucket(Bucket="fragments", CreateBucketConfiguration=ec)
        acknowledged = {"counters": [], "fragments": []}
        stop = threading.Event()
        strange = []
        for bucket in acknowledged:
            client.put_object(Bucket=bucket, Key="n", Body=b"0", IfNoneMatch="*")

        def count(bucket):
            mine = client_of(cluster)
            while not stop.is_set():
                try:
                    answer = mine.get_object(Bucket=bucket, Key="n")
                    number = int(answer["Body"].read()) + 1
                    body = str(number).encode()
                    mine.put_object(Bucket=bucket, Key="n", Body=body, IfMatch=answer["ETag"])
                except ClientError as error:
                    if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (409, 412, 500, 503):
                        strange.append(error)
                    continue
                except BotoCoreError:  # nobody knows
                    continue
                acknowledged[bucket].append(number)

        threads = [
            threading.Thread(target=count, args=(bucket,)) for bucket in acknowledged for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        end = time.monotonic() + SECONDS
        for node in [1, 2, 3, 4] * 10:
            cluster.kill(f"node{node}")
            time.sleep(1)
            cluster.revive(f"node{node}")
            time.sleep(0.5)
            if time.monotonic() > end and all(len(numbers) > 3 for numbers in acknowledged.values()):
                break
        stop.set()
        for thread in threads:
            thread.join()
        assert strange == []
        for bucket, numbers in acknowledged.items():
            assert len(numbers) > 1, bucket
            assert len(numbers) == len(set(numbers)), (bucket, sorted(numbers))
            # a node that was away may hold an older one until replicators have been there
            last = int(cluster.request("GET", f"/{bucket}/n", headers={"X-Newest": "true"}).body)
            assert last >= max(numbers), bucket
        for path in sorted(cluster.layout.log.iterdir()):
            assert "Traceback" not in path.read_text(errors="replace"), path
