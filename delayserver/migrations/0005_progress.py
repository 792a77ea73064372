from django.db import migrations, models

import delayserver.models


class Migration(migrations.Migration):
    dependencies = [
        ("delayserver", "0004_handled"),
    ]

    operations = [
        migrations.CreateModel(
            name="ProgressEntry",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("layer", delayserver.models.ExactCharField(max_length=100)),
                ("name", delayserver.models.ExactCharField(max_length=200)),
                ("version", models.BigIntegerField()),
                ("body", models.BinaryField()),
                ("expires", models.BigIntegerField()),
            ],
            options={
                "indexes": [models.Index(fields=["expires"], name="delayserver_progress_expires")],
                "constraints": [models.UniqueConstraint(fields=("layer", "name"), name="delayserver_progress")],
            },
        ),
    ]
