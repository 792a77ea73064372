from django import forms

WORKERS = [("runtasks", "runtasks, our worker"), ("celery", "Celery's worker")]
SECONDS = forms.NumberInput({"aria-describedby": "trouble"})  # where the page shows what is wrong


class TaskForm(forms.Form):
    seconds = forms.IntegerField(min_value=1, max_value=60, initial=3, widget=SECONDS)
    should_fail = forms.BooleanField(required=False)
    worker = forms.ChoiceField(choices=WORKERS, initial="runtasks", widget=forms.RadioSelect)

    def complaints(self):
        """What is wrong with each field, in a sentence or more."""
        return {name: " ".join(sentences) for name, sentences in self.errors.items()}
