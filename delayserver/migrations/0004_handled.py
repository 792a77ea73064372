from django.db import migrations, models

import delayserver.models


class Migration(migrations.Migration):
    dependencies = [
        ("delayserver", "0003_schedules"),
    ]

    operations = [
        migrations.CreateModel(
            name="HandledMessage",
            fields=[
                ("id", delayserver.models.ExactCharField(max_length=200, primary_key=True, serialize=False)),
                ("at", models.BigIntegerField()),
            ],
            options={
                "indexes": [models.Index(fields=["at"], name="delayserver_handled")],
            },
        ),
    ]
