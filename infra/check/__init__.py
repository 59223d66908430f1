"""A check of the Bicep templates for machines without the Bicep compiler.

It is NOT ``bicep build``. It parses with a grammar (`reading`), evaluates the templates with each
file of parameters into the resources that would be deployed (`expanding`), and holds these against
Microsoft's type data and against what the code needs (`rules`). What depends on a subscription
(quotas, aliases of policies, names that are taken) is out of its reach, and so is all of Bicep that
these templates do not use: an unknown function is reported, not guessed.
"""
