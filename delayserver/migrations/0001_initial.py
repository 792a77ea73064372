from django.db import migrations, models

import delayserver.models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="DeadMessage",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("message_id", delayserver.models.ExactCharField(max_length=200)),
                ("layer", delayserver.models.ExactCharField(max_length=100)),
                ("at", models.BigIntegerField()),
                ("reason", delayserver.models.ExactCharField(max_length=1000)),
                ("source", delayserver.models.ExactCharField(max_length=200)),
                ("body", models.BinaryField()),
            ],
            options={
                "verbose_name": "dead letter",
                "indexes": [models.Index(fields=["layer", "id"], name="delayserver_dead")],
            },
        ),
        migrations.CreateModel(
            name="DelayedMessage",
            fields=[
                ("id", delayserver.models.ExactCharField(max_length=200, primary_key=True, serialize=False)),
                ("layer", delayserver.models.ExactCharField(max_length=100)),
                ("home", delayserver.models.ExactCharField(blank=True, default="", max_length=100)),
                ("due", models.BigIntegerField()),
                ("generation", models.BigIntegerField(default=0)),
                ("kind", models.CharField(max_length=10)),
                ("name", models.CharField(max_length=100)),
                ("key", models.CharField(blank=True, max_length=64, null=True)),
                ("body", models.BinaryField()),
                ("options", models.BinaryField(default=b"")),
            ],
            options={
                "indexes": [models.Index(fields=["layer", "due", "id"], name="delayserver_due")],
                "constraints": [models.UniqueConstraint(fields=("layer", "key"), name="delayserver_key")],
            },
        ),
    ]
